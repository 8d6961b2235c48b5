"""MultiStream and Server through the search's own steps, with a device that answers from a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.api import SearchSettings, deciding
from autotune.api.deciding import decide_run
from autotune.api.driving import drive_best
from autotune.api.run import DEFAULT, Contender, Run
from autotune.api.verdict import baselines_of, bound_missed, verdict_of, winner_of
from autotune.core import (
    Candidate,
    Failure,
    FailureKind,
    Lane,
    Measurement,
    OutputError,
    Scenario,
    StageChoice,
    Timing,
    VerdictKind,
)
from autotune.profiler import Job
from autotune.profiler.load import Goal
from autotune.profiler.load.trials import RateTrial
from tests.api.conftest import bare_run

GOOD = OutputError(relative_rms=0.0, max_abs=0.0)
LANES = {"slow": "cpu/f32/t1", "near": "cpu/f32/t2", "best": "openvino:cpu/f32/t2"}


def measured(us: float) -> Measurement:
    return Measurement(samples_us=(us,), load_s=0.01, peak_bytes=1)


def contender(name: str, pace_us: float, *lanes: str, scenario: Scenario) -> Contender:
    stages = tuple(StageChoice(start=at, stop=at + 1, lane=Lane.parse(lane)) for at, lane in enumerate(lanes))
    job = Job(name=name, stages=(), outputs=(), feeds="", scenario=scenario)
    return Contender(
        name=name, job=job, candidate=Candidate(stages=stages), result=measured(pace_us), error=GOOD, held_out=GOOD
    )


def a_run(scenario: Scenario, pace_us: dict[str, float], bound_ms: float | None = None) -> Run:
    settings = SearchSettings(scenario=scenario, latency_bound_us=bound_ms * 1e3 if bound_ms else None, budget_s=1e4)
    budget = SimpleNamespace(left_s=1e4, total_s=1e4, make_room=lambda *_, **__: True)
    task, place = SimpleNamespace(real_inputs=True), SimpleNamespace(processors=())
    run = bare_run(settings, place=place, task=task, budget=budget)
    for name, us in pace_us.items():
        lanes = {"default": ["cpu/f32"], "plan:1": ["cpu/f32/t2", "openvino:cpu/f32/t2"]}.get(name)
        chosen = lanes or [LANES[name.removeprefix("single:")]]
        run.contenders[name] = contender(name, us, *chosen, scenario=scenario)
    return run


class Device:
    """Serves each job at its own pace, one request at a time, and remembers what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pace_us: dict[str, float]) -> None:
        self.pace_us = pace_us
        self.launches: list[list[str]] = []
        self.goals: list[Goal] = []
        monkeypatch.setattr("autotune.api.driving.decide", self.decide)
        monkeypatch.setattr("autotune.api.deciding.decide", self.decide)
        monkeypatch.setattr(deciding, "measure_held_out", lambda *_: None)

    def decide(
        self,
        jobs: Sequence[Job],
        *,
        launches: int,
        goals: Sequence[Goal],
        on_launch: Callable[[int, list[Measurement | Failure]], None] | None = None,
        **_: Any,
    ) -> list[list[Measurement | Failure]]:
        self.goals += goals
        found: list[list[Measurement | Failure]] = [[] for _ in jobs]
        for launch in range(launches):
            self.launches.append([job.name for job in jobs])
            row = [self.answer(self.pace_us[job.name], goal) for job, goal in zip(jobs, goals, strict=True)]
            for results, result in zip(found, row, strict=True):
                results.append(result)
            if on_launch is not None:
                on_launch(launch + 1, row)
        return found

    @staticmethod
    def answer(pace_us: float, goal: Goal) -> Measurement | Failure:
        if goal.scenario is Scenario.MULTI_STREAM:
            timing = Timing(p50_us=8 * pace_us, p90_us=8 * pace_us, p99_us=9 * pace_us, throughput_per_s=1e6 / pace_us)
            return Measurement(samples_us=(9 * pace_us,), load_s=0.01, peak_bytes=1, under_load=timing)
        if pace_us > goal.bound_us:
            return Failure(kind=FailureKind.BOUND, message="missed", closest_us=pace_us)
        rate = 0.5e6 / pace_us
        timing = Timing(p50_us=pace_us, p90_us=pace_us, p99_us=goal.bound_us, throughput_per_s=rate)
        return Measurement(samples_us=(1e6 / rate,), load_s=0.01, peak_bytes=1, under_load=timing)


PACE_US = {"default": 1300.0, "single:slow": 5000.0, "single:near": 1050.0, "single:best": 1000.0, "plan:1": 800.0}


def finish(run: Run) -> tuple[str, str]:
    drive_best(run)
    decision = decide_run(run)
    winner = winner_of(run, decision)
    verdict = verdict_of(run, winner, decision)
    return winner.name, verdict.reason


@pytest.mark.parametrize(("scenario", "bound_ms"), [(Scenario.MULTI_STREAM, None), (Scenario.SERVER, 20.0)])
def test_only_what_is_predicted_to_be_near_the_best_is_put_under_load(
    monkeypatch: pytest.MonkeyPatch, scenario: Scenario, bound_ms: float | None
) -> None:
    device, run = Device(monkeypatch, PACE_US), a_run(scenario, PACE_US, bound_ms)
    name, reason = finish(run)
    assert set(device.launches[0]) == {"default", "single:near", "single:best", "plan:1"}
    assert all(set(launch) <= set(device.launches[0]) for launch in device.launches)
    assert len(device.launches) == 1 + deciding.LAUNCHES
    assert name == "plan:1"
    assert "1.25x" in reason
    slow = next(baseline for baseline in baselines_of(run) if baseline.name == "single:slow")
    assert slow.measured is None
    assert "predicted" in slow.failure
    (entry,) = (entry for entry in run.verified if entry["stages"] == 2)
    assert entry["under_load"]
    assert entry["predicted"] == pytest.approx(entry["measured"], rel=0.7)


def test_the_plan_is_timed_as_the_scenario_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch, PACE_US)
    run = a_run(Scenario.MULTI_STREAM, PACE_US)
    finish(run)
    timing = run.timing(run.contenders["plan:1"])
    assert timing is not None
    assert (timing.p50_us, timing.p99_us, timing.throughput_per_s) == (6400, 7200, 1250)


def test_a_plan_that_is_slower_under_load_than_predicted_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch, PACE_US | {"plan:1": 1200.0})
    run = a_run(Scenario.MULTI_STREAM, PACE_US)
    assert finish(run)[0] == "single:best"


def test_where_nothing_keeps_the_bound_the_closest_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    device, run = Device(monkeypatch, PACE_US), a_run(Scenario.SERVER, PACE_US, bound_ms=0.5)
    name, reason = finish(run)
    assert name == "plan:1"
    assert len(device.launches) == 1  # no launches of what cannot win
    assert bound_missed(run)
    assert "within 0.5 ms" in reason
    assert "0.8 ms" in reason
    winner = run.contenders[name]
    assert verdict_of(run, winner, None).kind is VerdictKind.PARTITION
    assert run.timing(winner) is None


def test_what_misses_the_bound_takes_no_further_part(monkeypatch: pytest.MonkeyPatch) -> None:
    device, run = Device(monkeypatch, PACE_US), a_run(Scenario.SERVER, PACE_US, bound_ms=1.02)
    assert finish(run)[0] in ("plan:1", "single:best")
    assert DEFAULT in device.launches[0]
    assert all(DEFAULT not in launch for launch in device.launches[1:])
    assert not bound_missed(run)


def test_the_budget_leaves_out_the_last_ones_but_never_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    device, run = Device(monkeypatch, PACE_US), a_run(Scenario.SERVER, PACE_US, bound_ms=20.0)
    run.budget.total_s = -1.0
    monkeypatch.setattr(run, "budget", SimpleNamespace(left_s=-1.0, total_s=1.0))
    drive_best(run)
    assert device.launches == [["default"]]


def test_the_second_look_begins_where_the_first_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    device, run = Device(monkeypatch, PACE_US), a_run(Scenario.SERVER, PACE_US, bound_ms=20.0)
    finish(run)
    best = device.goals[len(device.launches[0]) :]
    assert {round(goal.rate_per_s) for goal in best} <= {round(0.5e6 / us) for us in PACE_US.values()}
    assert all(not RateTrial(goal).done for goal in best)


def test_a_bound_belongs_to_server(tmp_path: Path) -> None:
    from autotune.errors import UsageError

    for wrong in (
        {"scenario": Scenario.SERVER},
        {"scenario": Scenario.SERVER, "latency_bound_us": 0.0},
        {"scenario": Scenario.SERVER, "latency_bound_us": float("nan")},
        {"scenario": Scenario.MULTI_STREAM, "latency_bound_us": 5.0},
        {"latency_bound_us": 5.0},
    ):
        with pytest.raises(UsageError, match="latency-bound"):
            SearchSettings(home=tmp_path, **wrong)
