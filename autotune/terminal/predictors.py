"""What the predictors know, how they got there, and why they say what they say."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.api import RetrainResult
from autotune.api.explaining import Explanation, PlanExplanation
from autotune.api.predictor_versions import PredictorVersion
from autotune.api.tuned import Tuning
from autotune.predictor import Duel
from autotune.predictor.evaluation import RETEST
from autotune.terminal.tables import console, figure, rows_table


def print_retrain(result: RetrainResult) -> None:
    """Accuracy before and after, on models left out."""
    out = console()
    out.print(f"{_promotion(result)} {result.records} records, {result.seconds:.0f} s", soft_wrap=True)
    if result.as_stored:
        out.print(
            f"The records that {result.previous} learnt from are no longer at hand: {result.previous} was judged as it "
            f"is stored, and may know the models left out; `autotune retrain --to {result.version}` puts the new "
            "one in use all the same.",
            soft_wrap=True,
        )
    if result.problem:
        out.print(f"The one in use before could not be compared: {result.problem}", soft_wrap=True)
    if result.helped is not None:
        out.print(_help(result, result.helped), soft_wrap=True)
    if result.tuning is not None:
        out.print(_tuning(result.tuning), soft_wrap=True)
    before = {(row["learner"], row["lane"]): float(row["within_10"]) for row in result.before}
    ceilings = {row.lane: row.within_10 for row in result.after.rows if row.learner == RETEST}
    rows = []
    for row in result.after.rows:
        if row.learner == RETEST:
            continue
        old = before.get((row.learner, row.lane))
        ceiling = ceilings.get(row.lane)
        rows.append(
            (
                row.lane,
                row.learner,
                f"{old:.0%}" if old is not None else "–",
                f"{row.within_10:.0%}",
                f"{row.within_5:.0%}",
                f"{row.mape:.1%}",
                f"{row.spearman:.3f}",
                f"{ceiling:.0%}" if ceiling is not None else "–",
            )
        )
    headings = ("lane", "learner", "±10 % before", "±10 %", "±5 %", "MAPE", "Spearman", "noise ceiling ±10 %")
    out.print(rows_table(_left_out(result.after.folds), headings, rows))


def _help(result: RetrainResult, contest: Duel) -> str:
    """What the records of other devices are worth here."""
    who = f"records of {len(result.helpers)} other device{'s' if len(result.helpers) > 1 else ''}"
    taken = f"The {who} help" if result.learner == "adapted" else f"The {who} do not help beyond noise"
    if not contest.kernels:
        return f"{taken}: chosen lane by lane in cross-validation, there are too few of its own to leave models out."
    return (
        f"{taken}: error {contest.champion:.1%} without, {contest.challenger:.1%} with them "
        f"({contest.low:+.1%} to {contest.high:+.1%} better on {contest.models} models left out)."
    )


def _tuning(tuning: Tuning) -> str:
    """What choosing settings is worth on models left out of the choice."""
    worth = tuning.worth
    taken = "are taken" if worth.challenger_wins else "are not taken, they do not help beyond noise"
    return (
        f"Settings chosen in {tuning.trials} trials {taken}: error {worth.champion:.1%} with those so far, "
        f"{worth.challenger:.1%} with chosen ones ({worth.low:+.1%} to {worth.high:+.1%} better on {worth.models} "
        "models left out of the choice)."
    )


def _left_out(folds: Sequence[str]) -> str:
    """What the accuracy was measured on."""
    if any(name.startswith("fold ") for name in folds):
        return "kernels of one model left out: profile more models, accuracy on models left out says more"
    return "models left out"


def _promotion(result: RetrainResult) -> str:
    """Whether the new version is in use, and why."""
    contest = result.duel
    if contest is None:
        return f"Predictor {result.version} is in use: it is the first that can be compared."
    lanes = f", new lanes {', '.join(contest.new_lanes)}" if contest.new_lanes else ""
    if not contest.kernels:
        replaces = (
            f"Predictor {result.version} replaces {result.previous}"
            if result.promoted
            else (f"{result.previous} stays in use")
        )
        return f"{replaces}: too few models could be left out to compare them{lanes}."
    gain = f"error {contest.champion:.1%} before, {contest.challenger:.1%} now"
    gain += f" ({contest.low:+.1%} to {contest.high:+.1%} better on {contest.models} models left out)"
    if result.promoted:
        return f"Predictor {result.version} replaces {result.previous}: {gain}{lanes}."
    return f"{result.previous} stays in use: {result.version} is not better beyond noise: {gain}."


def print_explanation(found: Explanation) -> None:
    """All kernels with their intervals, then the most expensive ones taken apart."""
    out = console()
    out.print(
        f"{found.model} on {found.lane}: {figure(found.stage_us / 1e3)} ms as one stage "
        f"(90 %: {figure(found.stage_low_us / 1e3)}–{figure(found.stage_high_us / 1e3)} ms), "
        f"{figure(found.kernels_us / 1e3)} ms of it in {len(found.kernels)} kernels (predictor {found.predictor})",
        soft_wrap=True,
    )
    for warning in found.warnings:
        out.print(f"note: {warning}", soft_wrap=True)
    rows = [
        (
            one.position,
            one.kernel,
            figure(one.predicted.median_us, 4),
            f"{figure(one.predicted.low_us)}–{figure(one.predicted.high_us)}",
            figure(one.measured_us, 4) if one.measured_us is not None else "–",
        )
        for one in found.kernels
    ]
    out.print(rows_table("", ("", "kernel", "predicted µs", "90 %", "measured µs"), rows))
    for one in found.kernels:
        if one.explanation is None:
            continue
        why = ", ".join(f"{part.feature} {part.factor:.2f}x" for part in one.explanation.contributions)
        near = "; ".join(f"{item.kernel} {figure(item.latency_us, 4)} µs" for item in one.explanation.neighbours)
        physics_us = one.explanation.roofline_us
        begins = (
            f"roofline {figure(physics_us, 4)} µs; {why or 'no trees yet'}" if physics_us is not None else "no trees"
        )
        out.print(f"\n{one.position} {one.kernel}: {begins}", soft_wrap=True)
        out.print(f"  nearest measured: {near or 'none'}", soft_wrap=True)


def print_plan_explanation(found: PlanExplanation) -> None:
    """The whole plan as its search saw it, then stage after stage."""
    searched = [
        f"{what} {figure(timing.p50_us / 1e3)} ms"
        for what, timing in (("predicted", found.predicted), ("measured", found.measured))
        if timing is not None
    ]
    together_us = sum(stage.stage_us for stage in found.stages)
    console().print(
        f"{found.model}: {figure(together_us / 1e3)} ms in {len(found.stages)} stages, one after the other; "
        f"the search on {found.device} {' and '.join(searched) or 'measured nothing'}",
        soft_wrap=True,
    )
    for stage in found.stages:
        print_explanation(stage)


def print_versions(found: Sequence[PredictorVersion]) -> None:
    """Versions of predictors, the one in use marked."""
    if not found:
        console().print("no predictors yet: autotune retrain makes one of what was measured", soft_wrap=True)
        return
    rows = [
        (
            one.version,
            "in use" if one.in_use else "",
            one.device,
            _kind(one),
            one.records,
            one.hash,
            f"{one.within_10:.0%}" if one.within_10 is not None else "–",
            one.problem[:60],
        )
        for one in found
    ]
    headings = ("version", "", "device", "learner", "records", "data", "±10 %", "")
    console().print(rows_table("predictors", headings, rows))


def _kind(one: PredictorVersion) -> str:
    """What it learnt with, and how much of it comes from other devices."""
    return f"{one.learner}, {one.helped} of {one.lanes} lanes from others" if one.helped else one.learner
