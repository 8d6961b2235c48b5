"""Several objectives: what may be on the front, measured, and what is left when the dominated are dropped."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autotune.api.run import Contender, Run
from autotune.api.screening import patience_s
from autotune.api.settings import Criterion
from autotune.core import Measurement, OutputError, Scenario, Timing
from autotune.planning import Decision, non_dominated, speedup, spread
from autotune.planning.costs import Floats
from autotune.profiler import decide

MOST_POINTS = 5
"""Points that are measured in fresh launches for the front's sake."""
SLACK = 1.03
"""A point that is this near to being undominated by screening may still be on the front."""
MEMORY_LAUNCHES = 2
MEMORY_RUNS = 8
START_S = 0.8
EVEN = {Criterion.LATENCY: 0.03, Criterion.THROUGHPUT: 0.03, Criterion.MEMORY: 0.02, Criterion.ERROR: 0.05}
"""Relative difference under which two values count as the same, where no paired launches tell."""
PAIRED = {
    Scenario.SINGLE_STREAM: (Criterion.LATENCY, Criterion.THROUGHPUT),
    Scenario.MULTI_STREAM: (Criterion.LATENCY,),
    Scenario.SERVER: (Criterion.THROUGHPUT,),
    Scenario.OFFLINE: (Criterion.THROUGHPUT,),
}
"""What launches are samples of."""
ROUNDING = 1e-7
"""Relative error that no arithmetic in float32 avoids: below it all are alike."""
MOST_LOSS = 0.98
"""A plan that is better in another objective may take the place of the fastest if it has this much of its speed."""


def value_of(run: Run, contender: Contender, criterion: Criterion) -> float:
    """An objective, less is better: µs, µs per sample, bytes, relative error; inf where it is not known."""
    timing, error = run.timing(contender), contender.held_out or contender.error
    if timing is None or error is None:
        return math.inf
    return _value(run.settings.scenario, criterion, timing, error)


def _value(scenario: Scenario, criterion: Criterion, timing: Timing, error: OutputError) -> float:
    match criterion:
        case Criterion.LATENCY:
            return timing.p99_us if scenario.under_load else timing.p50_us
        case Criterion.THROUGHPUT:
            return 1e6 / timing.throughput_per_s
        case Criterion.MEMORY:
            return float(timing.peak_bytes)
        case Criterion.ERROR:
            return max(error.relative_rms, ROUNDING)


def front_contenders(run: Run) -> list[Contender]:
    """What may be on the front by screening, spread over it."""
    plans = [c for c in run.contenders.values() if c.candidate is not None and run.feasible(c) and run.timing(c)]
    if not plans:
        return []
    values = np.array([[value_of(run, c, criterion) for criterion in run.settings.objectives] for c in plans])
    near = [at for at in range(len(plans)) if _near_the_front(values, at)]
    return [plans[near[at]] for at in spread(values[near], MOST_POINTS)]


def _near_the_front(values: Floats, at: int) -> bool:
    others = values.copy()
    others[at] = values[at] / SLACK
    return at in non_dominated(others)


def measure_memory(run: Run, contenders: Sequence[Contender]) -> None:
    """Peak memory of each in fresh processes of its own: beside others it finds memory that they have let go."""
    if Criterion.MEMORY not in run.settings.objectives:
        return
    for at, contender in enumerate(contenders):
        if run.budget.left_s < 0:
            run.peaks.clear()  # those of some beside others' would compare unlike with like
            run.warnings.append("no time was left to measure memory in processes of their own: give a larger --budget.")
            return
        run.observer.progress("memory", at, len(contenders), text=contender.name)
        (results,) = decide(
            [contender.job],
            launches=MEMORY_LAUNCHES,
            runs=MEMORY_RUNS,
            deadline_s=120.0,
            silence_s=patience_s(run, [contender.job]),
        )
        peaks = [result.peak_bytes for result in results if isinstance(result, Measurement)]
        if peaks:
            run.peaks[contender.name] = int(statistics.median(peaks))


def memory_s(run: Run, contenders: Sequence[Contender]) -> float:
    """About how long that takes."""
    if Criterion.MEMORY not in run.settings.objectives:
        return 0.0
    loads_s = [contender.result.load_s for contender in contenders if isinstance(contender.result, Measurement)]
    runs_s = [MEMORY_RUNS * contender.median_us * contender.job.batch * 1e-6 for contender in contenders]
    return MEMORY_LAUNCHES * (START_S * len(contenders) + sum(loads_s) + sum(runs_s))


def with_objectives(run: Run, decision: Decision) -> Decision:
    """The decision for the first of several objectives, and the front that goes with it in `run.front`.

    The fastest by paired launches stays the plan unless another is as fast within noise and better in a further
    objective; where memory or output error comes first, the best in it is the plan.
    """
    run.front = []
    names = [n for n in run.launches if run.contenders[n].candidate is not None and run.feasible(run.contenders[n])]
    names = [n for n in names if all(isinstance(result, Measurement) for result in run.launches[n])]
    if not run.settings.objectives or decision.winner not in names:
        return decision
    names.sort(key=lambda name: name != decision.winner)
    winner = decision.winner
    if run.settings.objectives[0] in (Criterion.MEMORY, Criterion.ERROR):
        winner = _best_for_first(run, names)
    else:
        for name in names[1:]:
            gain = speedup(run.launches[winner], run.launches[name])
            if _beats(run, name, winner) and gain is not None and gain.ratio >= MOST_LOSS:
                winner = name
    names.sort(key=lambda name: name != winner)
    kept = [
        n for at, n in enumerate(names) if not at or not any(_beats(run, o, n) or _twins(run, o, n) for o in names[:at])
    ]
    kept = [n for n in kept if n == winner or not any(_beats(run, other, n) for other in names)]
    run.front = [winner, *sorted(kept[1:], key=lambda n: value_of(run, run.contenders[n], run.settings.objectives[0]))]
    return decision if winner == decision.winner else decision_for(run, decision, winner)


def decision_for(run: Run, decision: Decision, winner: str) -> Decision:
    """The same decision, had another won that was not chosen by its time: its speedups."""
    over = {name: speedup(run.launches[name], run.launches[winner]) for name in run.launches}
    return replace(decision, winner=winner, over={name: ratio for name, ratio in over.items() if ratio is not None})


def why_front(run: Run, winner: Contender, *, first: bool = True) -> str:
    """Why this is the plan among the points of the front, or where another point lies."""
    if not first:
        values = ", ".join(text_of(run, winner, criterion) for criterion in run.settings.objectives)
        return f"a point of the measured front: {values}"
    criterion, others = run.settings.objectives[0], len(run.front) - 1
    more = f"; {others} other point{'s' if others > 1 else ''} of the front beside it" if others else ""
    return f"best for {criterion} ({text_of(run, winner, criterion)}){more}"


def text_of(run: Run, contender: Contender, criterion: Criterion) -> str:
    """An objective with its unit."""
    value = value_of(run, contender, criterion)
    match criterion:
        case Criterion.LATENCY:
            return f"{value / 1e3:.3g} ms"
        case Criterion.THROUGHPUT:
            return f"{1e6 / value:.3g} per s"
        case Criterion.MEMORY:
            return f"{value / 2**20:.0f} MiB"
        case Criterion.ERROR:
            return "the reference's outputs" if value <= ROUNDING else f"relative error {value:.1e}"


def _best_for_first(run: Run, names: Sequence[str]) -> str:
    """The best in the first objective; of those that are even with it the best in the next, and so on."""
    left = list(names)
    for criterion in run.settings.objectives:
        best = min(left, key=lambda name: value_of(run, run.contenders[name], criterion))
        left = [name for name in left if _compare(run, name, best, criterion) <= 0]
    return left[0]


def _beats(run: Run, first: str, second: str) -> bool:
    """Whether it is better in one objective beyond noise and worse in none."""
    signs = [_compare(run, second, first, criterion) for criterion in run.settings.objectives]
    return first != second and min(signs) >= 0 and max(signs) > 0


def _twins(run: Run, first: str, second: str) -> bool:
    """Whether noise hides every difference."""
    return not any(_compare(run, first, second, criterion) for criterion in run.settings.objectives)


def _compare(run: Run, first: str, second: str, criterion: Criterion) -> int:
    """1 where the first is worse beyond noise, -1 where it is better, 0 where they are even."""
    if first == second:
        return 0
    if criterion in PAIRED[run.settings.scenario]:
        gain = speedup(run.launches[first], run.launches[second])
        if gain is None or gain.low <= 1 <= gain.high:
            return 0
        return 1 if gain.ratio > 1 else -1
    ratio = value_of(run, run.contenders[first], criterion) / value_of(run, run.contenders[second], criterion)
    return 0 if abs(math.log(ratio)) < EVEN[criterion] else (1 if ratio > 1 else -1)
