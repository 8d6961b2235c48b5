"""Fresh launches of the finalists, and what they say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from autotune.api.driving import driving_s, goal_of
from autotune.api.front import front_contenders, measure_memory, memory_s, with_objectives
from autotune.api.run import DEFAULT, USER, Contender, Run
from autotune.api.samples import Outputs
from autotune.api.screening import patience_s, sessions_that_fit
from autotune.api.settings import LOAD_BUDGET_S
from autotune.api.verdict import winner_of
from autotune.core import (
    Failure,
    FailureKind,
    Measurement,
    OutputError,
)
from autotune.planning import Decision, calm, decide_winner, undisturbed
from autotune.profiler import decide, run_outputs
from autotune.profiler.compare import BROKEN
from autotune.profiler.decide import BLOCKS
from autotune.profiler.jobs import SLOW

LAUNCHES = 6
MORE_LAUNCHES = 10
"""Launches where six leave open whether a partition is faster."""
MIN_LAUNCHES = 4
OPEN_GAIN = 1.01
"""Gain of a challenger, not distinguishable yet, that is worth more launches."""
FINAL_COUNT = 3
FINAL_REACH = 1.06
"""Further single processors or partitions are finalists when their screened time is within this factor of the first:
about what launches differ by."""
HOPELESS = 1.2
"""A partition that took so many times what the best single processor took when both were screened is no finalist."""
SPENT = 0.95
"""Share of the seconds that are left which launches may take by their estimate."""
RUNS_PER_LAUNCH = 20
TIME_CAP_S = 0.2
"""Most seconds of runs per launch and finalist: launches differ, runs within one hardly do, so more launches say more.
"""
DRAIN_S = 0.05
HELD_OUT_DEADLINE_S = 300.0


def decide_run(run: Run) -> Decision | None:
    """Measures the finalists and baselines in fresh process launches; None when there was no time for any."""
    finalists = _finalists(run)
    if not finalists:  # nothing keeps the latency bound
        return None
    finalists = _affordable(run, finalists)
    least = LAUNCHES if run.under_load or run.settings.objectives else MIN_LAUNCHES
    has_time(run, least * launch_s(run, finalists) / SPENT + memory_s(run, finalists), most_s=LOAD_BUDGET_S)
    measure_memory(run, finalists)
    launches = _affordable_launches(run, finalists, LAUNCHES)
    if launches:
        _launch(run, finalists, launches)
        _repeat_disturbed(run, finalists)
    decision = conclude(run)
    if decision is None:
        run.warnings.append("no time was left for enough deciding launches: the figures are from screening.")
        return None
    gain = decision.challenger_gain
    if gain is None or decision.winner == decision.challenger or gain.ratio < OPEN_GAIN:
        return decision
    more = _affordable_launches(run, finalists, MORE_LAUNCHES - launches)
    if more:
        _launch(run, finalists, more)
        _repeat_disturbed(run, finalists)
    return conclude(run)


def _affordable(run: Run, finalists: list[Contender]) -> list[Contender]:
    """Finalists without the second and third of their kind where all would leave time for too few launches."""
    if run.settings.objectives or run.under_load:  # all of a front are wanted; under load there is time for six
        return finalists
    kinds = len({contender.kind for contender in finalists})
    fewer = (_that_fit(finalists, count) for count in range(len(finalists), kinds, -1))
    affordable = (some for some in fewer if LAUNCHES * launch_s(run, some) <= SPENT * run.budget.left_s)
    return next(affordable, _that_fit(finalists, kinds))


def _launch(run: Run, finalists: Sequence[Contender], launches: int) -> None:
    """Adds deciding launches of the finalists."""
    before = _count(run)
    total = before + launches
    run.observer.progress("decide", before, total, text=", ".join(c.name for c in finalists))

    def keep(done: int, results: Sequence[Measurement | Failure]) -> None:
        for contender, result in zip(finalists, results, strict=True):
            run.launches[contender.name].append(result)
        run.counters.device_measurements += len(results)
        run.observer.progress("decide", before + done, total)

    run.launches = {contender.name: run.launches.get(contender.name, []) for contender in finalists}
    jobs = [contender.job for contender in finalists]
    found = [goal_of(run, contender) for contender in finalists] if run.under_load else []
    goals = [goal for goal in found if goal is not None]
    decide(
        jobs,
        launches=launches,
        runs=RUNS_PER_LAUNCH,
        drain_s=DRAIN_S,
        time_cap_s=TIME_CAP_S,
        seed=run.settings.seed + before,
        deadline_s=max(60.0, run.budget.left_s),
        silence_s=patience_s(run, jobs) + max((goal.expected_s for goal in goals), default=0.0),
        stop=lambda: _spent(run),
        on_launch=keep,
        goals=goals,
    )


def _spent(run: Run) -> bool:
    """Whether launches end here: the budget is spent, and there are enough, or it may not grow any more."""
    return run.budget.left_s < 0 and (_count(run) >= MIN_LAUNCHES or not has_time(run, 0.0, most_s=LOAD_BUDGET_S))


def _repeat_disturbed(run: Run, finalists: Sequence[Contender]) -> None:
    """Makes launches again in which the whole machine was slowed, if there is time, and forgets those."""
    if run.under_load:  # other arrivals alone make a launch so much slower
        return
    lost = _count(run) - len(undisturbed(run.launches))
    if lost and has_time(run, lost * launch_s(run, finalists)):
        _launch(run, finalists, lost)
    made = _count(run)
    run.launches = calm(run.launches, least=MIN_LAUNCHES)
    if _count(run) < made:
        run.warnings.append(
            f"{made - _count(run)} of {made} deciding launches do not count: something else slowed the whole machine."
        )


def _count(run: Run) -> int:
    return len(next(iter(run.launches.values()), ()))


def conclude(run: Run) -> Decision | None:
    """The decision from the launches that were made; None when they are too few for an interval of each half.

    Launches that decide nothing are dropped: the figures shown are then those of the screening that chose the winner.
    """
    if min((len(launches) for launches in run.launches.values()), default=0) < MIN_LAUNCHES:
        run.launches.clear()
        return None
    names = [name for name in run.launches if run.feasible(run.contenders[name])]
    partitions = [name for name in names if name.startswith("plan:")]
    singles = [name for name in names if name.startswith("single:")]
    try:
        decision = decide_winner(run.launches, ranks=[[DEFAULT], singles, partitions], against=list(run.launches))
        return with_objectives(run, decision)
    except ValueError:
        run.launches.clear()
        return None


def without(run: Run, contender: Contender, reason: str) -> Decision | None:
    """The decision once a winner has turned out not to work: it counts as failed, its launches are dropped."""
    contender.result = Failure(kind=FailureKind.ERROR, message=reason)
    contender.driven = contender.result if contender.driven is not None else None
    run.launches.pop(contender.name, None)
    return conclude(run)


def launch_s(run: Run, contenders: Sequence[Contender]) -> float:
    """About how long one deciding launch of these takes."""
    each_s = 0.8
    if run.under_load:
        return each_s + driving_s(run, contenders)
    for contender in contenders:
        if isinstance(contender.result, Measurement):
            per_run_s = contender.median_us * 1e-6 * contender.job.callers * contender.job.batch
            drain_s = DRAIN_S if per_run_s > SLOW * DRAIN_S else max(DRAIN_S, per_run_s)
            capped_s = min(TIME_CAP_S, RUNS_PER_LAUNCH * per_run_s) / BLOCKS
            block_s = max(2 * per_run_s if run.overlapping else per_run_s, capped_s)
            each_s += contender.result.load_s + 2 * per_run_s + BLOCKS * (drain_s + block_s)
    return each_s


def reserve_s(run: Run, launches: int = LAUNCHES) -> float:
    """Seconds to keep for deciding launches, whatever else the budget is spent on."""
    likely = [run.contenders[DEFAULT], *run.singles()[:FINAL_COUNT], *run.singles()[:1]]
    looks = 1 if run.under_load else 0  # before the finalists are known
    return min((launches + looks) * launch_s(run, likely), (0.7 if looks else 0.5) * run.budget.total_s)


def has_time(run: Run, needed_s: float, *, most_s: float = 0.0) -> bool:
    """Whether the budget has so many seconds left; one that nobody asked for gives way to what is promising.

    Args:
        run: of a search.
        needed_s: seconds.
        most_s: that it may grow to, where that is more than usual: what was found of a slow model is to be decided.
    """
    most_s = max(most_s, run.settings.most_s) if run.settings.budget_s is None else run.budget.total_s
    return run.budget.make_room(needed_s, most_s=most_s)


def _affordable_launches(run: Run, finalists: list[Contender], wanted: int) -> int:
    """As many launches as the rest of the budget allows, an even number so that both halves are equal."""
    left_s, each_s = run.budget.left_s * SPENT, launch_s(run, finalists)
    fit = min(wanted, int(left_s / each_s) // 2 * 2)
    return fit if fit >= MIN_LAUNCHES else (MIN_LAUNCHES if left_s >= 2 * each_s else 0)


def _finalists(run: Run) -> list[Contender]:
    """The default, the user's options, the best feasible single processors and partitions: of what was measured so."""
    simple = (run.contenders.get(name) for name in (DEFAULT, USER))
    chosen = [contender for contender in simple if contender is not None and _measured(run, contender)]
    singles = [c for c in run.singles() if c.name != DEFAULT and run.feasible(c) and _measured(run, c)]
    enough_us = HOPELESS * min(map(run.figure_us, singles), default=math.inf)
    partitions = [c for c in run.partitions() if _measured(run, c) and run.figure_us(c) <= enough_us]
    if run.under_load and not any(contender.candidate is not None for contender in (*chosen, *singles, *partitions)):
        return []
    for contender in [*_front(run, singles), *_front(run, partitions)]:
        measure_held_out(run, contender)
        if run.feasible(contender):
            chosen.append(contender)
    if run.contenders[DEFAULT].held_out is None:
        measure_held_out(run, run.contenders[DEFAULT])
    for contender in front_contenders(run) if run.settings.objectives else ():
        if contender not in chosen:
            measure_held_out(run, contender)
            if run.feasible(contender):
                chosen.append(contender)
    return _that_fit(chosen, sessions_that_fit(run))


def _that_fit(finalists: list[Contender], count: int) -> list[Contender]:
    """As many as may be open at the same time: of every kind the best, then the second, and so on."""
    seen: Counter[str] = Counter()
    ranks = {}
    for contender in finalists:
        ranks[contender.name] = seen[contender.kind]
        seen[contender.kind] += 1
    kept = sorted(finalists, key=lambda contender: ranks[contender.name])[:count]
    return [contender for contender in finalists if contender in kept]


def _measured(run: Run, contender: Contender) -> bool:
    """Whether it was measured as the scenario asks."""
    return isinstance(contender.driven if run.under_load else contender.result, Measurement)


def _front(run: Run, contenders: Sequence[Contender]) -> list[Contender]:
    """The first of contenders sorted by figure and those close behind it."""
    near = [c for c in contenders if run.figure_us(c) <= FINAL_REACH * run.figure_us(contenders[0])]
    return near[:FINAL_COUNT]


def screened_winner(run: Run) -> Contender:
    """The winner without launches; one below float32 keeps the tolerance on the held-out samples too."""
    winner = winner_of(run, None)
    while winner.below_float32 and winner.held_out is None:
        measure_held_out(run, winner)
        if winner.held_out is None:  # it could not be run: what is not measured is not delivered
            winner.held_out = OutputError(relative_rms=BROKEN, max_abs=BROKEN)
        winner = winner_of(run, None)
    return winner


def measure_held_out(run: Run, contender: Contender) -> None:
    """Output error on the samples that the search has not seen."""
    held_out = run.task.held_out
    outputs: Outputs | Failure = held_out.reference  # how the default's outputs are made, see `baselines`
    if contender.name != DEFAULT or run.budget.left_s > 0:
        outputs = run_outputs(
            contender.job,
            str(held_out.path),
            deadline_s=HELD_OUT_DEADLINE_S,
            silence_s=patience_s(run, [contender.job]),
            worker=run.worker,
        )
    if not isinstance(outputs, Failure):
        contender.held_out = run.task.error(outputs, held_out)
