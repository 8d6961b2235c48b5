"""The end of a search: deciding launches, the verdict, the plan's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from autotune.api.run import DEFAULT, USER, Contender, Run
from autotune.core import (
    Baseline,
    Failure,
    Measurement,
    Plan,
    Ratio,
    Stage,
    Timing,
    Verdict,
    VerdictKind,
)
from autotune.errors import MeasurementError
from autotune.graph import extract
from autotune.planning import Decision, decide_winner
from autotune.profiler import Job, JobStage, decide, run_outputs
from autotune.profiler.decide import BLOCKS
from autotune.runtime import write_plan

LAUNCHES = 6
MORE_LAUNCHES = 10
"""Launches where six leave open whether a partition is faster."""
MIN_LAUNCHES = 4
OPEN_GAIN = 1.01
"""Gain of a challenger, not distinguishable yet, that is worth more launches."""
FINAL_COUNT = 2
FINAL_REACH = 1.015
"""A second single processor or partition is a finalist when its screened time is within this factor of the first."""
RUNS_PER_LAUNCH = 20
TIME_CAP_S = 0.4
DRAIN_S = 0.05
HELD_OUT_DEADLINE_S = 300.0
REWRITE_ERROR = 1e-5
"""What folding constants may change, relative to the original file."""


def decide_run(run: Run) -> Decision | None:
    """Measures the finalists and baselines in fresh process launches; None when there was no time for any."""
    finalists = _finalists(run)
    launches = _affordable_launches(finalists, run.budget.left_s, LAUNCHES)
    if launches == 0:
        run.warnings.append("no time was left for deciding launches: the figures are from screening.")
        return None
    _launch(run, finalists, launches)
    decision = conclude(run)
    gain = decision.challenger_gain if decision is not None else None
    if decision is None or gain is None or decision.winner == decision.challenger or gain.ratio < OPEN_GAIN:
        return decision
    more = _affordable_launches(finalists, run.budget.left_s, MORE_LAUNCHES - launches)
    if more:
        _launch(run, finalists, more)
    return conclude(run)


def _launch(run: Run, finalists: Sequence[Contender], launches: int) -> None:
    """Adds deciding launches of the finalists, an even number so that both halves stay equal."""
    before = len(next(iter(run.launches.values()), ()))
    total = before + launches
    run.observer.progress("decide", before, total, text=", ".join(c.name for c in finalists))
    results = decide(
        [contender.job for contender in finalists],
        launches=launches,
        runs=RUNS_PER_LAUNCH,
        drain_s=DRAIN_S,
        time_cap_s=TIME_CAP_S,
        seed=run.settings.seed + before,
        deadline_s=max(60.0, run.budget.left_s),
        stop=lambda: run.budget.left_s < 0,
        on_launch=lambda done: run.observer.progress("decide", before + done, total),
    )
    run.counters.device_measurements += sum(len(launch) for launch in results)
    run.launches = {
        contender.name: [*run.launches.get(contender.name, ()), *result]
        for contender, result in zip(finalists, results, strict=True)
    }


def conclude(run: Run) -> Decision | None:
    """The decision from the launches that were made; None when there are none."""
    if not run.launches or not any(run.launches.values()):
        return None
    names = [name for name in run.launches if run.feasible(run.contenders[name])]
    partitions = [name for name in names if name.startswith("plan:")]
    singles = [name for name in names if name.startswith("single:")]
    try:
        return decide_winner(run.launches, ranks=[[DEFAULT], singles, partitions], against=list(run.launches))
    except ValueError:
        return None


def launch_s(contenders: Sequence[Contender]) -> float:
    """About how long one deciding launch of these takes."""
    each_s = 0.8
    for contender in contenders:
        if isinstance(contender.result, Measurement):
            per_run_s = contender.median_us * 1e-6 * max(1, contender.candidate.callers if contender.candidate else 1)
            each_s += contender.result.load_s + min(TIME_CAP_S, RUNS_PER_LAUNCH * per_run_s)
            each_s += BLOCKS * max(DRAIN_S, per_run_s) + 2 * per_run_s
    return each_s


def reserve_s(run: Run, launches: int = LAUNCHES) -> float:
    """Seconds to keep for deciding launches, whatever else the budget is spent on."""
    likely = [run.contenders[DEFAULT], *run.singles()[:FINAL_COUNT], *run.singles()[:1]]
    return min(launches * launch_s(likely), 0.5 * run.budget.total_s)


def _affordable_launches(finalists: list[Contender], left_s: float, wanted: int) -> int:
    """As many launches as the rest of the budget allows, an even number so that both halves are equal."""
    fit = min(wanted, int(left_s * 0.95 / launch_s(finalists)) // 2 * 2)
    return fit if fit >= MIN_LAUNCHES else (MIN_LAUNCHES if left_s * 0.95 >= 2 * launch_s(finalists) else 0)


def _finalists(run: Run) -> list[Contender]:
    """The default, the user's options, the best feasible single processors and partitions."""
    chosen = [run.contenders[DEFAULT]]
    user = run.contenders.get(USER)
    if user is not None and isinstance(user.result, Measurement):
        chosen.append(user)
    singles = [c for c in run.singles() if c.name != DEFAULT and run.feasible(c)]
    for contender in [*_front(singles), *_front(run.partitions())]:
        _measure_held_out(run, contender)
        if run.feasible(contender):
            chosen.append(contender)
    if run.contenders[DEFAULT].held_out is None:
        _measure_held_out(run, run.contenders[DEFAULT])
    return chosen


def _front(contenders: Sequence[Contender]) -> list[Contender]:
    """The first of contenders sorted by time and those close behind it."""
    near = [c for c in contenders if c.median_us <= FINAL_REACH * contenders[0].median_us]
    return near[:FINAL_COUNT]


def _measure_held_out(run: Run, contender: Contender) -> None:
    outputs = run_outputs(contender.job, str(run.task.held_out.path), deadline_s=HELD_OUT_DEADLINE_S, worker=run.worker)
    if not isinstance(outputs, Failure):
        contender.held_out = run.task.error(outputs, run.task.held_out)


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
        reason = "screened only: give a larger --budget for launches that can decide"
        return Verdict(kind=kind, winner=winner.name, reason=reason)
    single = best_single_name(run)
    if winner.name.startswith("plan:"):
        over = decision.over.get(single)
        gain = f"{text_of(over)} over {single}" if over else ""
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


def best_single_name(run: Run) -> str:
    """Name of the fastest feasible whole-model contender: by its launches where it has some, else by screening."""
    singles = [c for c in run.singles() if run.feasible(c)]
    decided = [c for c in singles if c.name in run.launches]
    if decided:
        return min(decided, key=lambda c: _decided_us(run, c)).name
    return singles[0].name if singles else DEFAULT


def _decided_us(run: Run, contender: Contender) -> float:
    medians = [r.median_us for r in run.launches[contender.name] if isinstance(r, Measurement)]
    return float(np.exp(np.mean(np.log(medians)))) if medians else float("inf")


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
                failure=failed or ("" if contender.result is not None else "not measured: the budget was spent"),
            )
        )
    return tuple(sorted(found, key=lambda b: b.measured.p50_us if b.measured else float("inf")))


def predicted_timing(winner: Contender) -> Timing | None:
    """The frozen prediction of the winner."""
    if winner.proposal is None or winner.candidate is None:
        return None
    at_once = winner.candidate.callers * winner.candidate.batch
    each = winner.proposal.predicted_us
    return Timing(p50_us=each * at_once, p90_us=each * at_once, p99_us=each * at_once, throughput_per_s=1e6 / each)


def build_plan(run: Run, winner: Contender, decision: Decision | None) -> tuple[Plan, Path]:
    """Writes the plan's folder; nothing half-written stays there.

    Raises:
        MeasurementError: the winner has no stages of its own.
    """
    if winner.candidate is None:
        raise MeasurementError(f"{winner.name} cannot be stored as a plan")
    graph = run.bench.batched(winner.candidate.batch)
    folder = run.settings.output or default_folder(run)
    staging = run.place.work / "plan"
    ranges = [(stage.start, stage.stop) for stage in winner.candidate.stages]
    if ranges == [(0, run.kernels)]:
        ranges = [(0, len(graph.kernels))]
    whole = [] if len(ranges) == 1 else [(0, run.kernels)]
    files = extract(graph, [*ranges, *whole], staging)
    stages = tuple(
        Stage(
            file=file.path.name,
            start=choice.start,
            stop=choice.stop,
            lane=choice.lane,
            inputs=tuple(tensor.name for tensor in file.inputs),
            outputs=tuple(tensor.name for tensor in file.outputs),
            operators=file.operators,
        )
        for file, choice in zip(files, winner.candidate.stages, strict=False)
    )
    _prove(run, winner, [str(file.path) for file in files[: len(stages)]])
    over = dict(decision.over) if decision is not None else {}
    plan = Plan(
        model=replace(run.task.info, inputs=graph.inputs, outputs=graph.outputs),
        scenario=run.settings.scenario,
        stages=stages,
        callers=winner.candidate.callers,
        batch=winner.candidate.batch,
        tolerance=run.settings.tolerance,
        device=run.place.device,
        versions=_versions(run),
        predicted=predicted_timing(winner),
        measured=run.timing(winner),
        error=winner.held_out or winner.error,
        baselines=baselines_of(run),
        over_default=over.get(DEFAULT),
        over_best_single=over.get(best_single_name(run)),
        verdict=verdict_of(run, winner, decision),
    )
    write_plan(plan, folder, files=staging, whole=files[-1].path.name)
    return plan, folder


def _prove(run: Run, winner: Contender, files: Sequence[str]) -> None:
    """Runs the files that the plan will hold once more: what is delivered is what was measured.

    Raises:
        MeasurementError: they cannot be run, or give other outputs.
    """
    if winner.candidate is None or winner.candidate.batch > 1:
        return
    stages = tuple(
        JobStage(file=file, lane=stage.lane) for file, stage in zip(files, winner.candidate.stages, strict=True)
    )
    job = Job(name="plan", stages=stages, outputs=run.task.outputs, feeds=str(run.task.feeds))
    outputs = run_outputs(job, str(run.task.search_samples.path), deadline_s=HELD_OUT_DEADLINE_S, worker=run.worker)
    if isinstance(outputs, Failure):
        raise MeasurementError(f"the plan's files cannot be run: {outputs.message}")
    error = run.task.error(outputs, run.task.search_samples)
    if error.relative_rms > max(run.settings.tolerance, REWRITE_ERROR):
        raise MeasurementError(f"the plan's files give other outputs: relative error {error.relative_rms:.1e}")


def _versions(run: Run) -> tuple[tuple[str, str], ...]:
    import autotune

    name, _, version = run.place.discovery.runtime.partition(" ")
    providers = [(processor.provider, processor.version) for processor in run.place.processors]
    return (("autotune", autotune.__version__), (name, version), *providers)


def default_folder(run: Run) -> Path:
    """`<home>/plans/<model>-<scenario>-<time>`."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return run.place.home / "plans" / f"{run.task.info.name}-{run.settings.scenario.value}-{stamp}"
