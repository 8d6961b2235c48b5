"""Several models tuned together, with the real providers of this machine; joint measurements in this process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import pytest

import autotune
from autotune.api import (
    JointSearchResult,
    bench_plans,
    run_plans,
    search_together,
    searching,
    together_bench,
    together_looking,
    together_measuring,
)
from autotune.api import together as orchestration
from autotune.api.together_run import SIDE_BY_SIDE, JointContender, JointRun
from autotune.core import (
    Candidate,
    Failure,
    FailureKind,
    Fairness,
    Lane,
    Scenario,
    Sharing,
    Slowing,
    StageChoice,
)
from autotune.errors import InputError, ModelFileError, PlanError, UnknownNameError, UsageError
from autotune.planning import JointCandidate, JointProposal, Objective
from autotune.profiler import JointJob, JointResult, JointTimes
from autotune.runtime import read_joint, read_plan

from .conftest import PLENTY_S, Speed, measured_by, participants, pinned, quick, search_pair, write_model


def test_a_better_joint_plan_is_delivered_and_gives_the_models_outputs(pair: Path, hasty: object) -> None:
    result = search_pair(pair)
    plan = result.plan
    assert plan.sharing is Sharing.SPACE
    assert plan.over_side_by_side is not None
    assert plan.over_side_by_side.ratio == pytest.approx(1.4)
    assert result.score == pytest.approx(1.4)
    assert read_joint(result.folder) == plan
    cores = [set(read_plan(result.folder / name).stages[0].lane.concurrency.cores) for name in plan.names]
    assert all(cores)
    assert not cores[0] & cores[1]
    for member in plan.members:
        assert member.measured is not None
        assert member.measured.throughput == pytest.approx(0.7)
        assert member.predicted is not None
    with autotune.load_plans(result.folder) as plans:
        for name in plans.models:
            sample = {"images": np.load(pair / f"{name}.npz")["images"][0]}
            wanted = ort.InferenceSession(str(pair / f"{name}.onnx")).run(None, sample)
            np.testing.assert_allclose(plans.run(name, None, sample)[0], wanted[0], rtol=1e-4, atol=1e-5)
            assert plans.submit(name, ["best"], sample).result()[0].shape == wanted[1].shape
    _keeps_the_contract(result)
    _runs_and_benches(result, pair)


def _keeps_the_contract(result: JointSearchResult) -> None:
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert set(data) >= {
        "schema_version", "models", "scenario", "device", "plan", "mlflow_run_id", "verdict", "baselines",
        "best_single_processor", "tuned", "speedup", "verified", "cost",
    }  # fmt: skip
    assert data["verdict"]["kind"] == "joint"
    assert [model["name"] for model in data["models"]] == ["small", "wide"]
    for model in data["models"]:
        assert set(model) >= {
            "sha256",
            "shapes",
            "weight",
            "plan",
            "measured",
            "predicted",
            "side_by_side",
            "baselines",
        }
        assert set(model["measured"]) >= {
            "latency_ms",
            "throughput_per_s",
            "normalised_throughput",
            "normalised_latency",
        }
        assert model["tuned"]["error"]["relative_rms"] <= 1e-3
    assert {baseline["name"] for baseline in data["baselines"]} == {"side_by_side", "default"}
    assert all(found["predicted"] and found["measured"] for found in data["verified"])
    assert {found["slowing"] for found in data["verified"]} <= {"shared cores", "nothing"}
    assert data["contention"] == {"co_runs": 0}
    assert set(data["cost"]) >= {"profile_s", "total_s", "device_measurements", "joint_candidates"}
    assert set(result.metrics()) == {"small", "wide"}


def _runs_and_benches(result: JointSearchResult, pair: Path) -> None:
    found = run_plans(result.folder, {"wide": [pair / "wide.npz"]})
    assert list(found) == ["wide"]
    assert len(found["wide"]) == 4
    with pytest.raises(UnknownNameError, match="known: small, wide"):
        run_plans(result.folder, {"narrow": [pair / "wide.npz"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together_bench, "measure_together", measured_by(lambda job: 0.7 if pinned(job) else 0.5))
        bench = bench_plans(result.folder, launches=2, home=pair / "home", inputs={"small": [pair / "small.npz"]})
    assert [row.name for row in bench.rows] == ["plan", "side_by_side", "default"]
    gain = bench.rows[1].plan_gain
    assert gain is not None
    assert gain.ratio == pytest.approx(1.4)


def test_what_co_runs_tell_is_in_the_predictions_and_in_the_result(pair: Path, hasty: object) -> None:
    class Slowing:
        predictor = SimpleNamespace(records=7)

        def __call__(self, *_: object) -> float:
            return 1.25

    plain = search_pair(pair)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together_looking, "contention_of", lambda _: Slowing())
        told = search_pair(pair)
    predicted = []
    for result, slowing in ((plain, "shared cores"), (told, "co-runs")):
        (space,) = [found for found in result.verified if found["sharing"] == "space"]
        assert space["slowing"] == slowing
        predicted.append(cast("float", space["predicted"]))
    assert predicted[1] == pytest.approx(predicted[0] / 1.25)
    assert told.to_json()["contention"] == {"co_runs": 7}


def test_one_run_is_tracked_with_metrics_of_each_model(pair: Path, hasty: object) -> None:
    events: list[tuple[str, dict[str, object]]] = []

    class Watching:
        def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None: ...

        def event(self, name: str, fields: Mapping[str, object]) -> None:
            events.append((name, dict(fields)))

    settings = quick(pair, budget_s=PLENTY_S, inputs=(), output=pair / "plan")
    search_together(participants(pair), settings, observer=Watching())
    assert [name for name, _ in events].count("search_started") == 1
    assert events[-1][0] == "search_finished"
    started = dict(events)["search_started"]
    assert started["model"] == "small+wide"
    figures = {key: value for name, fields in events if name == "metrics" for key, value in fields.items()}
    assert isinstance(figures["small"], dict)
    assert figures["small"]["normalised_throughput"] == pytest.approx(0.7)
    assert "wide" in figures


def test_where_nothing_is_better_the_answer_is_side_by_side(pair: Path, hasty: Callable[[Speed], None]) -> None:
    hasty(lambda job: 1.0 if len(job.members) == 1 else 0.5 if job.name == "side_by_side" else 0.4)
    result = search_pair(pair)
    assert result.plan.sharing is Sharing.SIDE_BY_SIDE
    assert "0.80x" in result.plan.reason
    assert result.to_json()["verdict"]["kind"] == "side_by_side"
    for member in result.plan.members:
        assert read_plan(result.folder / member.name).candidate.stages[0].lane == member.own.stages[0].lane
    with autotune.load_plans(result.folder) as plans:
        sample = {"images": np.load(pair / "small.npz")["images"][0]}
        assert len(plans.run("small", None, sample)) == 2


def test_offline_and_minmax_find_a_plan_too(pair: Path, hasty: Callable[[Speed], None]) -> None:
    hasty(lambda job: 1.0 if len(job.members) == 1 else 0.7 if job.turns else 0.5)
    weighed = [replace(one, weight=weight) for one, weight in zip(participants(pair), (2.0, 1.0), strict=True)]
    settings = quick(pair, budget_s=PLENTY_S, inputs=(), output=pair / "plan", scenario=Scenario.OFFLINE)
    result = search_together(weighed, settings, fairness=Fairness.MINMAX)
    assert result.plan.turns == (("small", "wide"),)
    assert [member.weight for member in result.plan.members] == [2.0, 1.0]
    assert result.score == pytest.approx(0.7 / 2)
    with autotune.load_plans(result.folder) as plans:
        shape = plans.inputs("wide")[0].shape
        assert shape is not None
        assert len(plans.run("wide", None, {"images": np.zeros(shape, np.float32)})) == 2


def test_own_plans_that_cannot_run_side_by_side_leave_the_default(pair: Path, hasty: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        inner = measured_by(lambda job: 1.0)

        def failing(jobs: Sequence[JointJob], **options: Any) -> list[list[JointResult]]:
            if jobs[0].name == "default" or len(jobs[0].members) == 1:
                return inner(jobs, **options)
            broken = Failure(kind=FailureKind.CRASH, message="two of them do not fit")
            return [[broken] * options["launches"] for _ in jobs]

        patch.setattr(together_measuring, "measure_together", failing)
        result = search_pair(pair)
    assert result.plan.sharing is Sharing.SIDE_BY_SIDE
    assert result.plan.members[0].measured is not None


def test_a_joint_plan_that_fails_costs_itself_only_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def proposal(core: int) -> JointProposal:
        stage = StageChoice(start=0, stop=1, lane=Lane.parse(f"cpu/f32/t1/c{core}"))
        chosen = JointCandidate(sharing=Sharing.SPACE, members=(Candidate(stages=(stage,)),))
        return JointProposal(
            candidate=chosen, each_us=(1.0,), latency_us=(1.0,), score=2.0 - core, slowing=Slowing.NOTHING
        )

    def screen(_: object, contenders: Sequence[JointContender]) -> None:
        (contender,) = contenders
        crashes = contender.proposal is best
        broken = Failure(kind=FailureKind.CRASH, message="out of registers")
        contender.screened = broken if crashes else JointTimes(members=(), load_s=0.0)
        measured.append(contender)

    best, second = proposal(0), proposal(1)
    measured: list[JointContender] = []
    joint = SimpleNamespace(
        objective=Objective(fairness=Fairness.SUM, weights=(1.0,), alone_us=(1.0,), alone_latency_us=(1.0,)),
        members=[SimpleNamespace(name="net", run=None, own=SimpleNamespace(candidate=None))],
        place=SimpleNamespace(device=SimpleNamespace(cores=(0, 1))),
        settings=SimpleNamespace(scenario=Scenario.OFFLINE, seed=0),
        contenders={SIDE_BY_SIDE: SimpleNamespace(screened=None)},
        budget=SimpleNamespace(left_s=PLENTY_S),
        score=lambda result: 1.0 if isinstance(result, JointTimes) else None,
        warnings=[],
    )
    for name, value in {
        "contention_of": lambda _: None,
        "options_of": lambda _: (),
        "shortlist": lambda *_, **__: ([best, second], 2),
        "reserve_s": lambda _: 0.0,
        "joint_contender": lambda _, own: JointContender(name="", job=cast("JointJob", None), proposal=own),
        "screen_together": screen,
    }.items():
        monkeypatch.setattr(together_looking, name, value)
    together_looking.look_at_candidates(cast("JointRun", joint))
    assert [contender.proposal for contender in measured] == [best, second]
    assert joint.warnings == ["a joint plan (space: net on cpu/f32/t1/c0) failed: out of registers"]


def test_where_no_way_comes_near_each_is_measured_once(pair: Path, hasty: Callable[[Speed], None]) -> None:
    hasty(lambda job: 1.0 if len(job.members) == 1 else 0.5 if job.name == "side_by_side" else 0.1)
    worse = search_pair(pair)
    ways = [str(found["sharing"]) for found in worse.verified]
    assert sorted(ways) == sorted(set(ways))
    assert len(ways) >= 2


def press(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    inner = getattr(module, name)

    def pressing(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return inner(*arguments)

    monkeypatch.setattr(module, name, pressing)


@pytest.mark.parametrize(
    ("module", "name"),
    [(searching, "decide_run"), (orchestration, "look_at_candidates"), (orchestration, "decide_together")],
)
def test_an_interrupt_gives_the_best_so_far(
    pair: Path, hasty: object, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    press(monkeypatch, module, name)
    result = search_pair(pair)
    assert result.interrupted
    assert result.plan.sharing is Sharing.SIDE_BY_SIDE
    assert "interrupted" in result.plan.reason
    assert read_joint(result.folder) == result.plan


def test_a_budget_too_small_for_joint_plans_says_so(pair: Path, hasty: object) -> None:
    result = search_pair(pair, budget_s=0.05)
    assert result.plan.sharing is Sharing.SIDE_BY_SIDE
    assert "larger --budget" in result.plan.reason


def test_models_that_cannot_be_tuned_together_are_refused(pair: Path) -> None:
    one, other = participants(pair)
    with pytest.raises(UsageError, match="at least two"):
        search_together([one])
    with pytest.raises(UsageError, match="given twice"):
        search_together([one, other, one])
    (pair / "again").mkdir()
    copy = write_model(pair / "again" / "small.onnx")
    with pytest.raises(UsageError, match="two models are called small"):
        search_together([one, str(copy)])
    for weight in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="weight of small"):
            replace(one, weight=weight)
    with pytest.raises(UsageError, match="belong to a model"):
        search_together([one, other], quick(pair))
    with pytest.raises(ModelFileError, match="none"):
        search_together([one, str(pair / "none.onnx")], quick(pair, inputs=()))
    with pytest.raises(InputError):
        search_together([one, replace(other, inputs=one.inputs)], quick(pair, inputs=()))
    (pair / "full").mkdir()
    (pair / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(PlanError, match="thesis"):
        search_together([one, other], quick(pair, inputs=(), output=pair / "full"))
