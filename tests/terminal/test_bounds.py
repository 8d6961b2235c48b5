"""What is shown of a search under load, and the exit code where nothing keeps the bound."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autotune.api import SearchResult
from autotune.api.run import ParallelOutcome
from autotune.cli import app
from autotune.core import (
    Baseline,
    Candidate,
    Device,
    Lane,
    ModelInfo,
    Plan,
    Scenario,
    Stage,
    StageChoice,
    Timing,
    Verdict,
    VerdictKind,
)
from autotune.errors import LatencyBoundError

LANE = Lane.parse("cpu/f32/t2")
TIMING = Timing(p50_us=5_000, p90_us=9_000, p99_us=48_000, throughput_per_s=61.5)


def a_plan(scenario: Scenario, *, bound_us: float = 0.0, measured: Timing | None = TIMING) -> Plan:
    device = Device(id="1", name="test", system="Linux", machine="x86_64", cores=(0, 1), memory_bytes=1)
    stage = Stage(file="s.onnx", start=0, stop=3, lane=LANE, inputs=("x",), outputs=("y",), operators=3)
    whole = Candidate(stages=(StageChoice(start=0, stop=3, lane=LANE),))
    left_out = Baseline(
        name="single:cpu/f32/t1",
        candidate=whole,
        measured=None,
        error=None,
        feasible=True,
        failure="not put under load",
    )
    return Plan(
        model=ModelInfo(name="net", sha256="0", inputs=(), outputs=()),
        scenario=scenario,
        latency_bound_us=bound_us,
        stages=(stage,),
        tolerance=1e-3,
        device=device,
        predicted=TIMING,
        measured=measured,
        baselines=(
            Baseline(name="default", candidate=whole, measured=measured, error=None, feasible=True),
            left_out,
        ),
        verdict=Verdict(
            kind=VerdictKind.SINGLE_PROCESSOR, winner="single:cpu/f32/t2", reason="it comes closest with 48 ms"
        ),
    )


def a_result(plan: Plan, *, missed: bool = False) -> SearchResult:
    cost = dict.fromkeys(("total_s", "device_measurements", "table_candidates", "trials"), 1.0)
    return SearchResult(
        plan=plan,
        folder=Path("plan"),
        best_single_processor="single:cpu/f32/t2",
        verified=(),
        cost=cost,
        curve=(),
        reused=(0, 0, ""),
        launched=frozenset({"default"}),
        over_user=None,
        parallel=ParallelOutcome(),
        warnings=(),
        objectives=(),
        front=(),
        bound_missed=missed,
        interrupted=False,
        mlflow_run_id=None,
    )


def run(monkeypatch: pytest.MonkeyPatch, result: SearchResult, *more: str) -> tuple[str, BaseException | None]:
    monkeypatch.setattr("autotune.api.search", lambda *_, **__: result)
    done = CliRunner().invoke(app, ["search", "-m", "net", "--scenario", "Server", "--latency-bound", "9ms", *more])
    return done.stdout, done.exception


def test_a_rate_within_the_bound_is_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, error = run(monkeypatch, a_result(a_plan(Scenario.SERVER, bound_us=50_000)))
    assert error is None
    assert "net, Server within 50 ms, test" in shown
    assert "p99 ms" in shown
    assert "predicted 61.5 requests per s, measured 61.5 requests per s" in shown
    assert "not put under load" in shown


def test_multi_stream_shows_the_tail_of_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, _ = run(monkeypatch, a_result(a_plan(Scenario.MULTI_STREAM)))
    assert "measured 48.0 ms (p99 of a query)" in shown
    assert "a query of 8 samples" in shown


def test_a_bound_that_nothing_keeps_fails_after_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = a_plan(Scenario.SERVER, bound_us=9_000, measured=None)
    shown, error = run(monkeypatch, a_result(plan, missed=True))
    assert "it comes closest with 48 ms" in shown
    assert isinstance(error, LatencyBoundError)
    assert error.exit_code == 1
    assert "single:cpu/f32/t2 in plan" in str(error)
    printed, error = run(monkeypatch, a_result(plan, missed=True), "--json")
    data = json.loads(printed)
    assert isinstance(error, LatencyBoundError)
    assert (data["bound_missed"], data["latency_bound_ms"], data["tuned"]["measured"]) == (True, 9, None)


def test_without_a_bound_nothing_is_missed() -> None:
    result = a_result(a_plan(Scenario.SINGLE_STREAM))
    assert (result.bound_message, result.to_json()["latency_bound_ms"]) == ("", None)
    assert replace(result, bound_missed=True).bound_message


def test_why_nothing_was_measured_in_parallel_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "even ideally shared 0.95x the speed of the best so far"
    result = replace(a_result(a_plan(Scenario.OFFLINE)), parallel=ParallelOutcome(ruled_out=why))
    shown, _ = run(monkeypatch, result)
    assert f"lanes that work at the same time: {why}; none measured" in shown
    assert result.to_json()["parallel"] == {"tried": 0, "best_over_best_single": None, "ruled_out": why}
