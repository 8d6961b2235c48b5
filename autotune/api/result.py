"""What a search returns, and its JSON contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.api.front_delivery import FrontPoint
from autotune.api.run import USER, ParallelOutcome, Run
from autotune.api.verdict import best_single_name, bound_missed, unbeaten
from autotune.core import Baseline, OutputError, Plan, Ratio, Timing
from autotune.core.codec import encode
from autotune.planning import Decision

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search found.

    Args:
        plan: the plan, `plan.verdict` first of all.
        folder: where it lies.
        best_single_processor: name of the best feasible single-processor baseline.
        verified: every candidate that was measured: hash, predicted and measured microseconds, feasible.
        cost: seconds by phase and what was spent besides.
        curve: (tolerance, predicted microseconds) of the best plan at other tolerances; in SingleStream only.
        reused: kernels known before, kernels needed, version of the predictor.
        launched: names of the baselines that took part in the deciding launches; the others were screened only.
        over_user: speedup over the user's own session options; None without them or without deciding launches.
        parallel: what came of plans of lanes that work at the same time.
        warnings: what the user should know.
        objectives: names of several, the plan is that for the first; empty where the scenario's figure was asked for.
        front: with several objectives the verified plans that none beats in all of them, the plan first.
        bound_missed: whether no plan keeps the latency bound, so that the plan is what comes closest to it.
        interrupted: whether it was stopped before its end.
        mlflow_run_id: the run in MLflow, None where it is not tracked.
    """

    plan: Plan
    folder: Path
    best_single_processor: str
    verified: tuple[dict[str, object], ...]
    cost: dict[str, float]
    curve: tuple[tuple[float, float], ...]
    reused: tuple[int, int, str]
    launched: frozenset[str]
    over_user: Ratio | None
    parallel: ParallelOutcome
    warnings: tuple[str, ...]
    objectives: tuple[str, ...]
    front: tuple[FrontPoint, ...]
    bound_missed: bool
    interrupted: bool
    mlflow_run_id: str | None

    @property
    def bound_message(self) -> str:
        """What to say where no plan keeps the latency bound, and what to do; empty where one does."""
        if not self.bound_missed or self.plan.verdict is None:
            return ""
        return (
            f"{self.plan.verdict.reason}: {self.plan.verdict.winner} in {self.folder}. "
            "Give a longer --latency-bound, or a smaller model."
        )

    def to_json(self) -> dict[str, Any]:
        """The object that `autotune search --json` prints."""
        plan = self.plan
        return {
            "schema_version": SCHEMA_VERSION,
            "models": [
                {
                    "name": plan.model.name,
                    "sha256": plan.model.sha256,
                    "shapes": {tensor.name: list(tensor.shape or ()) for tensor in plan.model.inputs},
                    "source": plan.model.source,
                }
            ],
            "scenario": str(plan.scenario),
            "latency_bound_ms": plan.latency_bound_us / 1e3 or None,
            "bound_missed": self.bound_missed,
            "device": encode(plan.device),
            "plan": str(self.folder),
            "mlflow_run_id": self.mlflow_run_id,
            "verdict": encode(plan.verdict),
            "baselines": [_baseline(baseline, baseline.name in self.launched) for baseline in plan.baselines],
            "best_single_processor": self.best_single_processor,
            "tuned": {
                "predicted": _predicted(plan.predicted),
                "measured": timing_json(plan.measured),
                "error": _error(plan.error),
                "lanes": list(dict.fromkeys(str(stage.lane) for stage in plan.stages)),
                "stages": [
                    {
                        "start": stage.start,
                        "stop": stage.stop,
                        "lane": str(stage.lane),
                        "operators": stage.operators,
                        "file": stage.file,
                    }
                    for stage in plan.stages
                ],
                "source": plan.source,
                "callers": plan.callers,
                "batch": plan.batch,
            },
            "speedup": {
                "over_default": ratio_json(plan.over_default),
                "over_best_single": ratio_json(plan.over_best_single),
                "over_user": ratio_json(self.over_user),
            },
            "objectives": list(self.objectives),
            "front": [_point(point) for point in self.front],
            "verified": list(self.verified),
            "parallel": {
                "tried": self.parallel.tried,
                "best_over_best_single": self.parallel.gain,
                "ruled_out": self.parallel.ruled_out or None,
            },
            "cost": self.cost,
            "tolerance": plan.tolerance,
            "tolerance_curve": [{"tolerance": t, "predicted_ms": us / 1e3} for t, us in self.curve],
            "reused": {"kernels_known": self.reused[0], "kernels": self.reused[1], "predictor": self.reused[2]},
            "warnings": list(self.warnings),
            "interrupted": self.interrupted,
        }


def timing_json(timing: Timing | None) -> dict[str, Any] | None:
    """Latency percentiles in ms, samples per second, load time and memory."""
    if timing is None:
        return None
    return {
        "latency_ms": {"p50": timing.p50_us / 1e3, "p90": timing.p90_us / 1e3, "p99": timing.p99_us / 1e3},
        "throughput_per_s": timing.throughput_per_s,
        "load_s": timing.load_s,
        "peak_bytes": timing.peak_bytes,
    }


def _point(point: FrontPoint) -> dict[str, Any]:
    plan = point.plan
    return {
        "name": point.name,
        "plan": str(point.folder),
        "measured": timing_json(plan.measured),
        "error": _error(plan.error),
        "lanes": list(dict.fromkeys(str(stage.lane) for stage in plan.stages)),
        "callers": plan.callers,
        "batch": plan.batch,
    }


def _predicted(timing: Timing | None) -> dict[str, float] | None:
    if timing is None:
        return None
    return {
        "latency_ms": timing.p50_us / 1e3,
        "p99_ms": timing.p99_us / 1e3,
        "throughput_per_s": timing.throughput_per_s,
    }


def _error(error: OutputError | None) -> dict[str, Any] | None:
    return None if error is None else dict(encode(error))


def ratio_json(ratio: Ratio | None) -> dict[str, float] | None:
    """A speedup with its interval."""
    return None if ratio is None else {"ratio": ratio.ratio, "low": ratio.low, "high": ratio.high}


def _baseline(baseline: Baseline, launched: bool) -> dict[str, Any]:
    timing = timing_json(baseline.measured)
    return {
        "name": baseline.name,
        "latency_ms": timing["latency_ms"] if timing else None,
        "throughput_per_s": timing["throughput_per_s"] if timing else None,
        "error": _error(baseline.error),
        "feasible": baseline.feasible,
        "failure": baseline.failure,
        "refusal": baseline.refusal,
        "protocol": ("launches" if launched else "screening") if timing else None,
    }


def result_of(
    run: Run, plan: Plan, folder: Path, decision: Decision | None, front: tuple[FrontPoint, ...] = ()
) -> SearchResult:
    """The result of a finished run."""
    spent = run.budget.spent_s
    counters = run.counters
    cost: dict[str, float] = {f"{name}_s": spent.get(name, 0.0) for name in ("profile", "train", "search", "verify")}
    cost |= {
        "total_s": run.budget.elapsed_s,
        "device_measurements": counters.device_measurements,
        "table_candidates": counters.table_candidates,
        "trials": counters.trials,
    }
    return SearchResult(
        plan=plan,
        folder=folder,
        best_single_processor=best_single_name(run, decision),
        verified=tuple(run.verified),
        cost=cost,
        curve=tuple(run.curve),
        reused=(counters.kernels_known, counters.kernels_needed, run.predictor_version),
        launched=frozenset(name for name, launches in run.launches.items() if launches),
        over_user=decision.over.get(USER) if decision is not None else None,
        parallel=run.parallel,
        warnings=(*run.warnings, *unbeaten(run, decision)),
        objectives=tuple(map(str, run.settings.objectives)),
        front=front,
        bound_missed=decision is None and bound_missed(run),
        interrupted=run.interrupted,
        mlflow_run_id=run.mlflow_run_id,
    )
