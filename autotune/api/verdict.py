"""The verdict and the figures that stand beside it."""

from __future__ import annotations

import math

from autotune.api.driving import closest
from autotune.api.front import value_of, why_front
from autotune.api.run import DEFAULT, USER, Contender, Run
from autotune.core import (
    Baseline,
    Failure,
    Ratio,
    Scenario,
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
    nearest = closest(run)
    if nearest is not None:
        return nearest
    best = _best_screened(run)
    default = run.contenders[DEFAULT]
    if best is not None:
        return best
    if isinstance(default.result, Failure):
        raise MeasurementError(f"ONNX Runtime's default cannot run this model: {default.result.message}")
    return default


def _best_screened(run: Run) -> Contender | None:
    """The best whole-model contender for the first objective, by the first look."""
    if not run.settings.objectives:
        return run.best_feasible_single()
    singles = [contender for contender in run.singles() if run.feasible(contender)]
    first = run.settings.objectives[0]
    return min(singles, key=lambda contender: value_of(run, contender, first), default=None)


def verdict_of(run: Run, winner: Contender, decision: Decision | None, *, source: str = "") -> Verdict:
    """The answer in one line, with the numbers.

    Args:
        run: the search.
        winner: what the plan holds.
        decision: from the launches, None where there were none.
        source: where a partition's gain comes from.
    """
    if decision is None and bound_missed(run):
        return Verdict(kind=kind_of(winner), winner=title_of(winner), reason=_why_closest(run, winner))
    if unrepeatable(run, winner):
        return Verdict(kind=kind_of(winner), winner=winner.name, reason=_why_unrepeatable(run, winner))
    if decision is None:
        kind = kind_of(winner)
        reason = "screened only, give a larger --budget for launches that can decide"
        if run.interrupted:
            reason = "screened only, interrupted before fresh launches could decide"
        return Verdict(kind=kind, winner=winner.name, reason=reason)
    if run.settings.objectives:
        return Verdict(kind=kind_of(winner), winner=title_of(winner), reason=why_front(run, winner))
    single = best_single_name(run, decision)
    if winner.kind == "plan":
        over = decision.over.get(single)
        gain = f"{text_of(over)} over {single}" if over else ""
        if winner.candidate is not None and not winner.candidate.is_single_lane:
            gain += f"; it comes from {source}"
        return Verdict(kind=VerdictKind.PARTITION, winner=str(winner.candidate), reason=gain)
    kind = VerdictKind.DEFAULT if winner.name == DEFAULT else VerdictKind.SINGLE_PROCESSOR
    if decision.challenger_gain is not None and decision.challenger.startswith("plan:"):
        reason = f"partitioning gains {text_of(decision.challenger_gain)}, not distinguishable"
    elif run.counters.rounds:
        reason = "no partition that was measured is faster"
    else:
        reason = _why_no_partition(run)
    return Verdict(kind=kind, winner=winner.name, reason=reason)


def unrepeatable(run: Run, winner: Contender) -> bool:
    """Whether the plan is the default although not even another run of it keeps the tolerance."""
    return winner.name == DEFAULT and winner.error is not None and not run.feasible(winner)


def _why_unrepeatable(run: Run, winner: Contender) -> str:
    found = max(error.relative_rms for error in (winner.error, winner.held_out) if error is not None)
    return (
        f"nothing keeps the tolerance of {run.settings.tolerance:g}, not even a second run of the default (error "
        f"{found:.1e}): the outputs are not repeatable (drawn at random?), or the tolerance is too tight"
    )


def bound_missed(run: Run) -> bool:
    """Whether nothing that was put under load keeps the latency bound."""
    return closest(run) is not None


def _why_closest(run: Run, winner: Contender) -> str:
    """What the nearest plan reaches, in milliseconds."""
    closest_us = winner.driven.closest_us if isinstance(winner.driven, Failure) else math.nan
    return (
        f"nothing keeps the 99th percentile within {run.aim.bound_us / 1e3:g} ms at any rate; "
        f"it comes closest with {closest_us / 1e3:.3g} ms"
    )


def kind_of(winner: Contender) -> VerdictKind:
    """What won."""
    if winner.kind == "plan":
        return VerdictKind.PARTITION
    return VerdictKind.DEFAULT if winner.name == DEFAULT else VerdictKind.SINGLE_PROCESSOR


def title_of(winner: Contender) -> str:
    """A baseline's name, or the candidate as text."""
    return str(winner.candidate) if winner.kind == "plan" else winner.name


def _why_no_partition(run: Run) -> str:
    lanes = {lane.kind for c in run.singles() if run.feasible(c) for lane in c.lanes}
    if len(lanes) < 2:
        return "it is the only processor and precision that may be used here"
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


def unbeaten(run: Run, decision: Decision | None) -> tuple[str, ...]:
    """A warning where the user's own options keep the tolerance and the plan is not distinguishably faster."""
    over, user = decision.over.get(USER) if decision is not None else None, run.contenders.get(USER)
    if over is None or over.low > 1.0 or user is None or not run.feasible(user) or run.settings.objectives:
        return ()
    return (f"your own options (--baseline) are not beaten: {text_of(over)}; keep them.",)


def best_single_name(run: Run, decision: Decision | None) -> str:
    """Name of the fastest feasible whole-model contender: by the launches that chose, else by screening."""
    if decision is not None and decision.best_single:
        return decision.best_single
    best = run.best_feasible_single()
    return best.name if best is not None else DEFAULT


def baselines_of(run: Run) -> tuple[Baseline, ...]:
    """Everything that was measured as a baseline, the best in the scenario first."""
    found = []
    for contender in run.contenders.values():
        if contender.kind == "plan":
            continue
        failed = next((r.message for r in (contender.result, contender.driven) if isinstance(r, Failure)), "")
        found.append(
            Baseline(
                name=contender.name,
                candidate=contender.candidate,
                measured=run.timing(contender),
                error=contender.held_out or contender.error,
                feasible=run.feasible(contender),
                refusal=run.refusal(contender),
                failure=failed or ("" if run.timing(contender) is not None else _why_unmeasured(run, contender)),
            )
        )
    return tuple(sorted(found, key=lambda b: run.aim.figure_us(b.measured) if b.measured else math.inf))


def _why_unmeasured(run: Run, contender: Contender) -> str:
    found = run.forecast(contender) if run.under_load else None
    if found is not None:
        rate = run.settings.scenario is Scenario.SERVER and found.p99_us <= run.aim.bound_us
        figure = f"{found.throughput_per_s:.3g} per s" if rate else f"p99 {found.p99_us / 1e3:.3g} ms"
        return f"not put under load: {figure} predicted"
    if run.interrupted or run.broken_off:
        return "not measured: " + ("interrupted" if run.interrupted else "broken off")
    return "not measured: the budget was spent"


def predicted_timing(winner: Contender) -> Timing | None:
    """The frozen prediction of the winner."""
    if winner.forecast is not None:
        return winner.forecast
    if winner.proposal is None or winner.candidate is None:
        return None
    at_once = winner.candidate.callers * winner.candidate.batch
    each = winner.proposal.predicted_us
    return Timing(p50_us=each * at_once, p90_us=each * at_once, p99_us=each * at_once, throughput_per_s=1e6 / each)
