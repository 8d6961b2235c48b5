"""What observers are told of a search: `tracking/writer.py` knows what becomes of it."""

from __future__ import annotations

from pathlib import Path

from autotune.api.run import Run
from autotune.api.verdict import baselines_of
from autotune.core import Plan
from autotune.errors import MeasurementError


def announce_search(run: Run) -> None:
    """What is searched for, and where."""
    settings, place = run.settings, run.place
    run.observer.event(
        "search_started",
        {
            "model": run.task.info.name,
            "sha256": run.task.info.sha256,
            "scenario": str(settings.scenario),
            "latency_bound_ms": settings.latency_bound_us / 1e3 if settings.latency_bound_us else None,
            "objectives": ", ".join(settings.objectives),
            "tolerance": settings.tolerance,
            "budget_s": run.budget.total_s,
            "device": place.device.name,
            "device_id": place.device.id,
            "runtime": place.discovery.runtime,
            "seed": settings.seed,
            "processors": ", ".join(processor.name for processor in place.processors),
        },
    )


def announce_baselines(run: Run) -> None:
    """Everything that was measured as a baseline."""
    for baseline in baselines_of(run):
        run.observer.event(
            "baseline",
            {
                "name": baseline.name,
                "p50_ms": baseline.measured.p50_us / 1e3 if baseline.measured else None,
                "throughput_per_s": baseline.measured.throughput_per_s if baseline.measured else None,
                "relative_rms": baseline.error.relative_rms if baseline.error else None,
                "feasible": baseline.feasible,
            },
        )


def announce_plan(run: Run, plan: Plan, folder: Path) -> None:
    """The plan that was written.

    Raises:
        MeasurementError: it has no verdict.
    """
    if plan.verdict is None:
        raise MeasurementError("the search ended without a verdict")
    run.observer.event(
        "plan",
        {
            "folder": str(folder),
            "verdict": str(plan.verdict.kind),
            "winner": plan.verdict.winner,
            "summary": f"{plan.verdict.winner}: {plan.verdict.reason}",
            "speedup_over_default": plan.over_default.ratio if plan.over_default else None,
            "speedup_over_best_single": plan.over_best_single.ratio if plan.over_best_single else None,
            "predicted_ms": plan.predicted.p50_us / 1e3 if plan.predicted else None,
            "measured_ms": plan.measured.p50_us / 1e3 if plan.measured else None,
            "measured_p99_ms": plan.measured.p99_us / 1e3 if plan.measured else None,
            "measured_per_s": plan.measured.throughput_per_s if plan.measured else None,
        },
    )
