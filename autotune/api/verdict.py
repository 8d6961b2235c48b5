"""The verdict and the figures that stand beside it."""

from __future__ import annotations

from autotune.api.run import DEFAULT, Contender, Run
from autotune.core import (
    Baseline,
    Failure,
    Ratio,
    Timing,
    Verdict,
    VerdictKind,
)
from autotune.errors import MeasurementError
from autotune.planning import Decision


def winner_of(run: Run, decision: Decision | None) -> Contender:
    """The contender that the plan will hold.

    Raises:
        MeasurementError: nothing at all could be measured.
    """
    if decision is not None:
        return run.contenders[decision.winner]
    best = run.best_feasible_single()
    default = run.contenders[DEFAULT]
    if best is not None:
        return best
    if isinstance(default.result, Failure):
        raise MeasurementError(f"ONNX Runtime's default cannot run this model: {default.result.message}")
    return default


def verdict_of(run: Run, winner: Contender, decision: Decision | None) -> Verdict:
    """The answer in one line, with the numbers."""
    if decision is None:
        kind = VerdictKind.DEFAULT if winner.name == DEFAULT else VerdictKind.SINGLE_PROCESSOR
        reason = "screened only, give a larger --budget for launches that can decide"
        if run.interrupted:
            reason = "screened only, interrupted before fresh launches could decide"
        return Verdict(kind=kind, winner=winner.name, reason=reason)
    single = best_single_name(run, decision)
    if winner.name.startswith("plan:"):
        over = decision.over.get(single)
        gain = f"{text_of(over)} over {single}" if over else ""
        if winner.candidate is not None and not winner.candidate.is_single_lane:
            gain += f"; it comes from {winner.candidate.source}"
        return Verdict(kind=VerdictKind.PARTITION, winner=str(winner.candidate), reason=gain)
    kind = VerdictKind.DEFAULT if winner.name == DEFAULT else VerdictKind.SINGLE_PROCESSOR
    if decision.challenger_gain is not None and decision.challenger.startswith("plan:"):
        reason = f"partitioning gains {text_of(decision.challenger_gain)}, not distinguishable"
    elif run.counters.rounds:
        reason = "no partition that was measured is faster"
    else:
        reason = _why_no_partition(run)
    return Verdict(kind=kind, winner=winner.name, reason=reason)


def _why_no_partition(run: Run) -> str:
    lanes = {(lane.processor, lane.precision) for c in run.singles() if run.feasible(c) for lane in c.lanes}
    if len(lanes) < 2:
        return "it is the only processor and precision that meets the tolerance here"
    if run.interrupted:
        return "interrupted before a partition was measured"
    if run.broken_off:
        return "broken off before a partition was measured"
    single = run.best_feasible_single()
    if run.unmeasured_us is not None and single is not None:
        gain = single.median_us / run.unmeasured_us
        return f"no time was left to measure a partition (predicted gain {gain:.2f}x): give a larger --budget"
    if run.unsearched:
        return "no time was left to look for partitions: give a larger --budget"
    return "no partition is predicted to gain more than the noise"


def text_of(ratio: Ratio) -> str:
    """`1.23x (1.20–1.26)`."""
    return f"{ratio.ratio:.2f}x ({ratio.low:.2f}–{ratio.high:.2f})"


def best_single_name(run: Run, decision: Decision | None) -> str:
    """Name of the fastest feasible whole-model contender: by the launches that chose, else by screening."""
    if decision is not None and decision.best_single:
        return decision.best_single
    best = run.best_feasible_single()
    return best.name if best is not None else DEFAULT


def baselines_of(run: Run) -> tuple[Baseline, ...]:
    """Everything that was measured as a baseline, fastest first."""
    found = []
    for contender in run.contenders.values():
        if contender.name.startswith("plan:"):
            continue
        failed = contender.result.message if isinstance(contender.result, Failure) else ""
        found.append(
            Baseline(
                name=contender.name,
                candidate=contender.candidate,
                measured=run.timing(contender),
                error=contender.held_out or contender.error,
                feasible=run.feasible(contender),
                failure=failed or ("" if contender.result is not None else _why_unmeasured(run)),
            )
        )
    return tuple(sorted(found, key=lambda b: -b.measured.throughput_per_s if b.measured else 0.0))


def _why_unmeasured(run: Run) -> str:
    if run.interrupted or run.broken_off:
        return "not measured: " + ("interrupted" if run.interrupted else "broken off")
    return "not measured: the budget was spent"


def predicted_timing(winner: Contender) -> Timing | None:
    """The frozen prediction of the winner."""
    if winner.proposal is None or winner.candidate is None:
        return None
    at_once = winner.candidate.callers * winner.candidate.batch
    each = winner.proposal.predicted_us
    return Timing(p50_us=each * at_once, p90_us=each * at_once, p99_us=each * at_once, throughput_per_s=1e6 / each)
