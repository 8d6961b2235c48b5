"""Plans of lanes that work at the same time, through the whole search."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autotune
from autotune.api import SearchResult, SearchSettings, lane_teams, parallel, search, searching
from autotune.api.clock import Budget
from autotune.api.knowledge import Knowledge
from autotune.api.lane_teams import Group, Player, best_groups, players_of
from autotune.api.run import Contender, Run
from autotune.api.single_settings import single_candidates
from autotune.api.task import Task
from autotune.api.workplace import Guarded, Workplace
from autotune.core import (
    Candidate,
    Lane,
    Measurement,
    OutputError,
    Processor,
    Scenario,
    SilentObserver,
    StageChoice,
)
from autotune.datasets import Store
from autotune.graph import Graph, load
from autotune.planning import Bench, Decision, ErrorModel, Proposal, ideal_us
from autotune.planning.costs import LaneCost
from autotune.predictor import SlowdownPredictor
from autotune.profiler import Job, Worker
from autotune.runtime import read_plan

from .conftest import PLENTY_S, quick

needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def hopeful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that seem heavy enough to be shared, and a gain that is believed in whatever it is."""

    def players(run: Run, knowledge: Knowledge) -> list[Player]:
        return [
            replace(player, whole_us=player.whole_us * 1e3, kernel_us=player.kernel_us * 1e3)
            for player in players_of(run, knowledge)
        ]

    monkeypatch.setattr(parallel, "players_of", players)
    monkeypatch.setattr(parallel, "LEAST_GAIN", 1e-9)


@pytest.fixture(scope="module")
def concurrent(place: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A search whose plan is a concurrent one, since nothing else may win."""

    def first_concurrent(run: Run, _: Decision | None) -> Contender:
        return next(
            c
            for c in run.contenders.values()
            if c.candidate is not None and not c.candidate.stages_are_runs and isinstance(c.result, Measurement)
        )

    output = tmp_path_factory.mktemp("concurrent") / "plan"
    with pytest.MonkeyPatch.context() as patch:
        hopeful(patch)
        patch.setattr(searching, "winner_of", first_concurrent)
        return search(place / "small.onnx", quick(place, budget_s=PLENTY_S, output=output))


@pytest.mark.slow
@needs_two_cores
def test_at_most_three_are_measured_and_losing_is_said(concurrent: SearchResult) -> None:
    tried, gain = concurrent.parallel.tried, concurrent.parallel.gain
    assert 1 <= tried <= parallel.MOST_MEASURED
    assert gain is not None
    told = {"tried": tried, "best_over_best_single": gain, "ruled_out": None}
    assert concurrent.to_json()["parallel"] == told
    lost = any("work at the same time were tried" in warning for warning in concurrent.warnings)
    assert lost == (gain <= 1)


@pytest.mark.slow
@needs_two_cores
def test_a_concurrent_plan_is_delivered_loaded_and_gives_the_models_outputs(
    concurrent: SearchResult, found: SearchResult
) -> None:
    plan = read_plan(concurrent.folder)
    assert not plan.candidate.stages_are_runs
    assert plan.source in ("split", "parallel lanes")
    images = np.random.default_rng(5).standard_normal((1, 3, 24, 24)).astype(np.float32)
    with autotune.load_plan(concurrent.folder) as one, autotune.load_plan(found.folder) as other:
        got, wanted = one.run(["scores"], {"images": images})[0], other.run(["scores"], {"images": images})[0]
        later = one.submit(["scores"], {"images": images}).result(timeout=60)[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(got, later)
    with autotune.load_plan(concurrent.folder, fallback=True) as fallback:
        np.testing.assert_allclose(fallback.run(["scores"], {"images": images})[0], wanted, rtol=1e-3, atol=1e-4)


def player(lane: str, *kernel_us: float) -> Player:
    cost = LaneCost(call_us=0.0, per_byte_in_us=0.0, per_byte_out_us=0.0)
    return Player(lane=Lane.parse(lane), whole_us=sum(kernel_us), kernel_us=np.array(kernel_us), cost=cost)


def names(groups: Iterable[tuple[float, Group]], *, faster_than_us: float = math.inf) -> list[list[str]]:
    return [[str(player.lane) for player in group] for us, group in groups if us < faster_than_us]


def test_two_cores_have_two_lanes_and_one_more_for_each_other_device() -> None:
    players = [player("cpu/f32/t1", 150.0), player("cpu/f32/t2", 90.0), player("webgpu:gpu", 200.0)]
    pair = ["cpu/f32/t1/c0", "cpu/f32/t1/c1"]
    assert names(best_groups(players[:2], range(2))) == [pair]
    found = names(best_groups(players, range(2)), faster_than_us=90.0)
    assert found == [
        [*pair, "webgpu:gpu/f32"],
        ["cpu/f32/t2", "webgpu:gpu/f32"],
        pair,
        ["cpu/f32/t1", "webgpu:gpu/f32"],
    ]


def test_four_cores_have_groups_of_two_three_and_four_lanes() -> None:
    players = [player(f"cpu/f32/t{threads}", us) for threads, us in ((1, 200.0), (2, 130.0), (4, 100.0))]
    assert names(best_groups(players, range(4)), faster_than_us=99.0) == [
        [f"cpu/f32/t1/c{core}" for core in range(4)],
        ["cpu/f32/t1/c0", "cpu/f32/t1/c1", "cpu/f32/t2/c2+3/nospin"],
        ["cpu/f32/t2/c0+1/nospin", "cpu/f32/t2/c2+3/nospin"],
        ["cpu/f32/t1/c0", "cpu/f32/t1/c1", "cpu/f32/t1/c2"],
        ["cpu/f32/t1/c0", "cpu/f32/t2/c1+2/nospin"],
    ]
    assert max(map(len, names(best_groups(players, range(64))))) == lane_teams.MOST_LANES


def test_lanes_that_are_good_at_different_kernels_are_a_team() -> None:
    unlike = [player("cpu/f32/t2", 4.0, 16.0), player("webgpu:gpu", 16.0, 4.0)]
    (us, _), *_ = best_groups(unlike, range(2))
    assert us == pytest.approx(4.0)  # in turns they take 8, and any kernel shared alike 10


@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_the_best_groups_of_each_size_are_found(kernels: int, cores: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    players = [player(f"{name}/f32/t1", *rng.uniform(1, 99, kernels)) for name in ("cpu", "openvino:cpu", "webgpu:gpu")]
    every = list(lane_teams._groups(players, range(cores)))
    found = best_groups(players, range(cores))
    for size in {len(group) for group in every}:
        times = sorted(ideal_us(lane_teams._kernel_us(group)) for group in every if len(group) == size)
        own = [us for us, group in found if len(group) == size]
        assert own == pytest.approx(times[: lane_teams.MOST_TEAMS])


CPU, GPU = (
    Processor(name=name, provider=provider, device=device, version="1")
    for name, provider, device in (
        ("cpu", "CPUExecutionProvider", "cpu"),
        ("webgpu:gpu", "WebGpuExecutionProvider", "gpu"),
    )
)
Speed = Callable[[Lane], float]


class Slowing(SlowdownPredictor):
    """Whatever runs beside anything takes 1.5 times as long."""

    def table(self, victims: Any, _one: Lane, besides: Any, _two: Lane) -> Any:
        return np.full((len(victims), len(besides)), 1.5)


def measured_run(
    graph: Graph, scenario: Scenario, request_us: Speed, *, cores: int, processors: Sequence[Processor] = (CPU,)
) -> Run:
    """A search on a device that is not here, after it has measured each processor alone in the settings it tries."""
    run = Run(
        settings=SearchSettings(scenario=scenario),
        place=cast("Workplace", SimpleNamespace(device=SimpleNamespace(cores=tuple(range(cores))))),
        task=cast("Task", SimpleNamespace(graph=graph)),
        bench=cast("Bench", None),
        store=cast("Store", None),
        budget=Budget(PLENTY_S),
        observer=Guarded(SilentObserver()),
        worker=cast("Worker", None),
    )
    for processor in processors:
        for candidate in single_candidates(run, processor):
            add(run, candidate, request_us(candidate.stages[0].lane) / candidate.callers)
    return run


def add(run: Run, candidate: Candidate, us: float) -> None:
    run.contenders[candidate.hash] = Contender(
        name=candidate.hash,
        job=cast("Job", None),
        candidate=candidate,
        result=Measurement(samples_us=(us,) * 3),
        error=OutputError(relative_rms=0.0, max_abs=0.0),
    )


def knowledge_of(kernel_us: Mapping[str, np.ndarray]) -> Knowledge:
    times = {Lane.parse(lane): us for lane, us in kernel_us.items()}
    return Knowledge(
        settings=[], lanes={}, kernel_us=times, stage_cost={}, segments={}, errors=cast("ErrorModel", None)
    )


@pytest.fixture
def graph(place: Path) -> Graph:
    return load(place / "small.onnx", dims={"batch": 1})


@pytest.fixture
def predicted_only(monkeypatch: pytest.MonkeyPatch) -> list[Proposal]:
    """What is proposed for measurement; it takes as long as predicted."""
    proposed: list[Proposal] = []

    def measure(_run: Run, _knowledge: Knowledge, fresh: Sequence[Proposal], _number: int) -> list[Contender]:
        proposed.extend(fresh)
        results = [Measurement(samples_us=(proposal.predicted_us,) * 3) for proposal in fresh]
        return [Contender(name="", job=cast("Job", None), candidate=None, result=result) for result in results]

    monkeypatch.setattr(parallel, "measure_round", measure)
    monkeypatch.setattr(parallel, "round_s", lambda *_: 0.0)
    monkeypatch.setattr(parallel, "reserve_s", lambda *_: 0.0)
    monkeypatch.setattr(lane_teams, "slowdown_predictor", lambda *_: SlowdownPredictor())
    monkeypatch.setattr(lane_teams, "handover_us", lambda _: 20.0)
    monkeypatch.setattr(parallel, "PLACING_S", 0.05)
    return proposed


@pytest.mark.parametrize("scenario", [Scenario.OFFLINE, Scenario.SINGLE_STREAM])
def test_on_four_cores_plans_of_more_than_two_lanes_are_proposed(
    predicted_only: list[Proposal], graph: Graph, scenario: Scenario
) -> None:
    count = len(graph.kernels)
    us = {1: 2000.0, 2: 1300.0, 4: 1000.0}
    run = measured_run(graph, scenario, lambda lane: us[lane.threads_each] * count, cores=4)
    players = players_of(run, knowledge_of({"cpu/f32/t4": np.ones(count)}))
    assert {str(own.lane).split("/nospin")[0]: own.whole_us for own in players} == {
        f"cpu/f32/t{threads}": pytest.approx(each * count) for threads, each in us.items()
    }
    assert not any(own.lane.concurrency.cores for own in players if own.lane.concurrency.threads > 1)
    teams = lane_teams.lane_teams(run, [group for _, group in best_groups(players, range(4))])
    assert [len(team.lanes) for team in teams] == [4, 3, 2]
    assert {team.handover_us for team in teams} == {20.0}
    proposals = parallel._proposals(run, teams)
    used = [len({stage.lane for stage in proposal.candidate.stages}) for proposal in proposals]
    assert max(used) == 4
    assert used[0] > 2
    assert proposals[0].predicted_us < us[4] * count
    if scenario is Scenario.OFFLINE:
        pipelines = {at for at, proposal in zip(used, proposals, strict=True) if proposal.origin == "pipeline"}
        assert pipelines == {2, 3, 4}


def test_what_serial_stages_cannot_reach_is_proposed_and_measured(predicted_only: list[Proposal], graph: Graph) -> None:
    """The whole round: one processor is good at the first half of the model, the other one at the second."""
    count = len(graph.kernels)
    good, bad = np.full(count // 2, 4000.0), np.full(count - count // 2, 16000.0)
    cpu, gpu = np.concatenate([good, bad]), np.concatenate([bad[: count // 2], good[:1].repeat(len(bad))])
    both = {"cpu/f32/t2": cpu, "webgpu:gpu/f32": gpu}
    run = measured_run(
        graph,
        Scenario.OFFLINE,
        lambda lane: float((cpu if lane.on_cpu else gpu).sum()) * (3 if lane.threads_each == 1 else 1),
        cores=2,
        processors=(CPU, GPU),
    )
    halves = (0, count // 2), (count // 2, count)
    serial = tuple(
        StageChoice(start=start, stop=stop, lane=Lane.parse(lane))
        for (start, stop), lane in zip(halves, both, strict=True)
    )
    in_turns_us = 4000.0 * count
    add(run, Candidate(stages=serial), in_turns_us)
    parallel.parallel_round(run, knowledge_of(both), 1)
    assert 1 <= run.parallel.tried == len(predicted_only) <= parallel.MOST_MEASURED
    assert {stage.lane for stage in predicted_only[0].candidate.stages} == set(map(Lane.parse, both))
    assert predicted_only[0].predicted_us < in_turns_us
    assert run.parallel.gain is not None
    assert run.parallel.gain > 1
    assert not run.parallel.ruled_out


def test_where_sharing_without_loss_would_not_gain_that_is_said(predicted_only: list[Proposal], graph: Graph) -> None:
    run = measured_run(graph, Scenario.OFFLINE, lambda lane: {1: 19e3, 2: 18e3}[lane.threads_each], cores=2)
    parallel.parallel_round(run, knowledge_of({"cpu/f32/t2": np.ones(len(graph.kernels))}), 1)
    assert not predicted_only
    assert run.parallel.ruled_out == "even ideally shared 0.95x the speed of the best so far"
    assert not run.warnings


@pytest.mark.parametrize("scenario", [Scenario.OFFLINE, Scenario.SINGLE_STREAM])
def test_lanes_that_were_not_measured_beside_each_other_are_predicted_to_disturb(
    monkeypatch: pytest.MonkeyPatch, graph: Graph, scenario: Scenario
) -> None:
    monkeypatch.setattr(lane_teams, "slowdown_predictor", lambda *_: Slowing())
    run = measured_run(graph, scenario, lambda _: 9e3, cores=2, processors=(CPU, GPU))
    kernels = np.ones(len(graph.kernels))
    players = players_of(run, knowledge_of({"cpu/f32/t2": kernels, "webgpu:gpu/f32": kernels}))
    found = {}
    for team in lane_teams.lane_teams(run, [group for _, group in best_groups(players, range(2))]):
        for (victim, other), by in team.corun.items():
            assert by == pytest.approx(1.5)
            lanes = team.lanes[victim], team.lanes[other]
            found[tuple(f"{lane.processor} t{lane.concurrency.threads}" for lane in lanes)] = by
    beside = {("cpu t1", "cpu t1")} if scenario is Scenario.SINGLE_STREAM else set()  # callers were measured together
    apart = {("cpu t1", "webgpu:gpu t0"), ("webgpu:gpu t0", "cpu t1")}
    apart |= {("cpu t2", "webgpu:gpu t0"), ("webgpu:gpu t0", "cpu t2")}
    assert set(found) == apart | beside


def test_a_plan_of_version_1_reads_the_same(found: SearchResult, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    folder.mkdir()
    for path in found.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    data = json.loads((folder / "plan.json").read_text())
    data["schema_version"] = 1
    del data["splits"]
    for stage in data["stages"]:
        del stage["kernels"], stage["part"]
    for baseline in data["baselines"]:
        if baseline["candidate"] is not None:
            del baseline["candidate"]["splits"]
            for stage in baseline["candidate"]["stages"]:
                del stage["kernels"], stage["part"]
    (folder / "plan.json").write_text(json.dumps(data))
    assert read_plan(folder).stages == found.plan.stages
