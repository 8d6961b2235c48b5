"""Several objectives: who is the plan, who is on the front, and who is dropped as dominated or even in all."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.api import SearchSettings, front
from autotune.api.deciding import conclude
from autotune.api.front import front_contenders, measure_memory, value_of
from autotune.api.front_delivery import write_front
from autotune.api.run import Contender, Run
from autotune.api.settings import Criterion, front_folder
from autotune.api.verdict import verdict_of
from autotune.core import (
    Candidate,
    Failure,
    FailureKind,
    Lane,
    Measurement,
    OutputError,
    Scenario,
    StageChoice,
)
from autotune.errors import StoreError, UsageError
from autotune.planning import Decision
from autotune.profiler import Job
from tests.api.conftest import bare_run

L, T, M, E = Criterion.LATENCY, Criterion.THROUGHPUT, Criterion.MEMORY, Criterion.ERROR
NOISE = (1.0, 1.004, 0.997, 1.002, 0.999, 1.001)


def a_run(objectives: tuple[Criterion, ...], points: dict[str, tuple[float, int, float]]) -> Run:
    """A run whose contenders have (time, memory, output error) and six launches each."""
    settings = SearchSettings(objectives=objectives, tolerance=1e-2)
    budget = SimpleNamespace(left_s=100.0, total_s=100.0)
    run = bare_run(settings, task=SimpleNamespace(real_inputs=True), budget=budget)
    for at, (name, (us, peak, error)) in enumerate(points.items()):
        lanes = ["cpu/f32/t2", "cpu/f32/t1"] if name.startswith("plan:") else ["cpu/f32/t2"]
        stages = tuple(StageChoice(start=k, stop=k + 1 + at, lane=Lane.parse(lane)) for k, lane in enumerate(lanes))
        result = Measurement(samples_us=(us,), load_s=0.1, peak_bytes=peak)
        found = OutputError(relative_rms=error, max_abs=0.0)
        run.contenders[name] = Contender(
            name=name,
            job=Job(name=name, stages=(), outputs=(), feeds=""),
            candidate=Candidate(stages=stages),
            result=result,
            error=found,
            held_out=found,
        )
        run.launches[name] = [replace(result, samples_us=(us * by,)) for by in NOISE[at % 6 :] + NOISE[: at % 6]]
    return run


POINTS = {
    "default": (1000.0, 100 << 20, 0.0),
    "single:even": (1000.0, 100 << 20, 0.0),
    "single:small": (1400.0, 60 << 20, 0.0),
    "single:bad": (1500.0, 90 << 20, 0.0),
    "plan:fast": (800.0, 120 << 20, 1e-3),
}


def decided(run: Run) -> Decision:
    decision = conclude(run)
    assert decision is not None
    return decision


def test_the_front_keeps_what_nothing_beats_and_the_plan_is_the_first_objectives() -> None:
    run = a_run((L, M), POINTS)
    decision = decided(run)
    assert decision.winner == "plan:fast"
    assert run.front == ["plan:fast", "default", "single:small"]
    verdict = verdict_of(run, run.contenders["plan:fast"], decision)
    assert "best for latency (0.8 ms); 2 other points" in verdict.reason


def test_memory_first_takes_the_smallest_and_says_what_that_costs() -> None:
    run = a_run((M, L), POINTS)
    decision = decided(run)
    assert decision.winner == run.front[0] == "single:small"
    assert decision.over["default"].ratio == pytest.approx(1000 / 1400, rel=0.02)
    assert set(run.front) == {"single:small", "default", "plan:fast"}


def test_output_error_first_goes_on_to_the_next_objective_where_it_is_even() -> None:
    run = a_run((E, L), POINTS)
    assert decided(run).winner == "default"  # exact as the other three, and the fastest of those
    assert run.front == ["default", "plan:fast"]


def test_a_plan_as_fast_within_noise_with_less_memory_takes_the_place_of_the_simpler_one() -> None:
    run = a_run((L, M), {"default": POINTS["default"], "single:lean": (1001.0, 70 << 20, 0.0)})
    assert decided(run).winner == "single:lean"
    assert run.front == ["single:lean"]


def test_one_objective_alone_has_no_front() -> None:
    run = a_run((), POINTS)
    assert decided(run).winner == "plan:fast"
    assert run.front == []


def test_what_failed_a_launch_is_not_on_the_front() -> None:
    run = a_run((L, M), POINTS)
    run.launches["single:small"][3] = Failure(kind=FailureKind.CRASH, message="died")
    decided(run)
    assert run.front == ["plan:fast", "default", "single:bad"]  # which is small beside what is left


def test_screening_leaves_what_may_be_on_the_front() -> None:
    run = a_run((L, M), POINTS | {"single:far": (5000.0, 300 << 20, 0.0)})
    run.launches = {}
    names = {contender.name for contender in front_contenders(run)}
    assert names >= {"plan:fast", "single:small"}
    assert "single:far" not in names
    run.contenders["plan:fast"].error = OutputError(relative_rms=1.0, max_abs=1.0)
    assert "plan:fast" not in {contender.name for contender in front_contenders(run)}


def test_memory_is_measured_alone_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def alone(jobs: list[Job], **_: Any) -> list[list[Measurement]]:
        asked.append([job.name for job in jobs])
        return [[Measurement(samples_us=(1.0,), peak_bytes=peak) for peak in (10, 30)]]

    monkeypatch.setattr(front, "decide", alone)
    run = a_run((L, M), POINTS)
    measure_memory(run, list(run.contenders.values()))
    assert asked == [[name] for name in POINTS]
    assert value_of(run, run.contenders["default"], M) == 20
    run.budget.left_s = -1.0  # type: ignore[misc]
    measure_memory(run, list(run.contenders.values()))
    assert value_of(run, run.contenders["default"], M) == 100 << 20  # all of them beside each other, not some alone
    assert any("memory" in warning for warning in run.warnings)
    unasked = a_run((L, E), POINTS)
    measure_memory(unasked, list(unasked.contenders.values()))
    assert len(asked) == len(POINTS)


def test_points_are_written_beside_the_plan_and_one_that_fails_costs_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    run = a_run((L, M), POINTS)
    decision = decided(run)
    run.place = SimpleNamespace(work=tmp_path)  # type: ignore[assignment]
    written: list[Any] = []

    def build(_: Run, contender: Contender, found: Decision, *, verdict: Any, folder: Any) -> Any:
        if contender.name == "default":
            raise StoreError("full")
        written.append((contender.name, found.winner, folder, verdict.reason))
        return SimpleNamespace(measured=None, error=None), folder

    monkeypatch.setattr("autotune.api.front_delivery.build_plan", build)
    points = write_front(run, None, tmp_path / "plan", decision)  # type: ignore[arg-type]
    assert [point.name for point in points] == ["plan:fast", "single:small"]
    assert written[0][:3] == ("single:small", "single:small", front_folder(tmp_path / "plan") / "2")
    assert "1.4 ms, 60 MiB" in written[0][3]
    assert any("full" in warning for warning in run.warnings)
    assert write_front(run, None, tmp_path / "plan", None) == ()  # type: ignore[arg-type]
    assert any("no time" in warning for warning in run.warnings)


@pytest.mark.parametrize(
    ("objectives", "scenario", "named"),
    [
        ((M,), Scenario.SINGLE_STREAM, "single one"),
        ((L, M, L), Scenario.SINGLE_STREAM, "latency twice"),
        ((L, T), Scenario.SINGLE_STREAM, "one over latency"),
    ],
)
def test_objectives_that_cannot_be_meant_are_refused(
    objectives: tuple[Criterion, ...], scenario: Scenario, named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        SearchSettings(objectives=objectives, scenario=scenario)
    assert SearchSettings(objectives=(L, T), scenario=Scenario.OFFLINE).objectives
