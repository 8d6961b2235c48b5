"""What is predicted to be best in MultiStream or Server, measured under load."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.api.run import DEFAULT, USER, Contender, Run
from autotune.api.screening import START_S, patience_s, sessions_that_fit
from autotune.core import Failure, FailureKind, Measurement, Scenario
from autotune.profiler import decide
from autotune.profiler.load import Goal

DRIVEN = 3
"""Single processors, and partitions, that are put under load at most."""
REACH = 1.3
"""Further ones are when their predicted figure is within this factor of the best: about what predictions err by."""
DRAIN_S = 0.05


def goal_of(run: Run, contender: Contender) -> Goal | None:
    """What is asked of a contender under load, beginning where it was measured or predicted; None where it failed."""
    found = run.forecast(contender)
    if isinstance(contender.driven, Measurement):
        found = contender.driven.under_load or found
    if found is None:
        return None
    if run.settings.scenario is Scenario.MULTI_STREAM:
        return Goal(scenario=Scenario.MULTI_STREAM, query_us=found.p50_us)
    rate = found.throughput_per_s / contender.job.batch
    if found.p99_us > run.aim.bound_us:  # then it is that of one request after the other
        rate /= 2
    return Goal(scenario=Scenario.SERVER, query_us=found.p50_us, bound_us=run.aim.bound_us, rate_per_s=rate)


def driving_s(run: Run, contenders: Sequence[Contender]) -> float:
    """About how long one process takes that puts these under load in turns."""
    total_s = START_S
    for contender in contenders:
        goal = goal_of(run, contender)
        if goal is not None and isinstance(contender.result, Measurement):
            total_s += contender.result.load_s + goal.expected_s + 4 * DRAIN_S
    return total_s


def drive_best(run: Run) -> None:
    """Puts the default and what is predicted to be best under load, in turns, and files what came of it."""
    chosen = _chosen(run)
    while len(chosen) > 1 and driving_s(run, chosen) > run.budget.left_s:
        chosen.pop()
    goals = [goal_of(run, contender) for contender in chosen]
    asked = [(contender, goal) for contender, goal in zip(chosen, goals, strict=True) if goal is not None]
    if not asked:
        return
    run.observer.progress("under load", 0, 0, text=", ".join(contender.name for contender, _ in asked))
    for contender, _ in asked:
        contender.forecast = run.forecast(contender)
    jobs = [contender.job for contender, _ in asked]
    found = decide(
        jobs,
        launches=1,
        drain_s=DRAIN_S,
        seed=run.settings.seed + 7919,
        deadline_s=max(120.0, run.budget.left_s),
        silence_s=patience_s(run, jobs) + max(goal.expected_s for _, goal in asked),
        goals=[goal for _, goal in asked],
    )
    for (contender, _), (result,) in zip(asked, found, strict=True):
        contender.driven = result
        run.counters.device_measurements += 1
        _keep_verified(run, contender)


def _chosen(run: Run) -> list[Contender]:
    """The default first, then of each kind the best by prediction, the most promising first."""
    singles = [c for c in run.singles() if c.name != DEFAULT and run.feasible(c)]
    found = _near(run, singles, singles) + _near(run, run.partitions(), singles)
    user = [c for c in (run.contenders.get(USER),) if c is not None and isinstance(c.result, Measurement)]
    ranked = sorted(found, key=run.figure_us)
    return [run.contenders[DEFAULT], *ranked, *user][: max(2, sessions_that_fit(run))]


def _near(run: Run, contenders: Sequence[Contender], singles: Sequence[Contender]) -> list[Contender]:
    """The first of these, sorted by prediction, that may be as good as the best of them and of the singles."""
    best_us = min((run.figure_us(contender) for contender in (*contenders[:1], *singles[:1])), default=0.0)
    return [c for c in contenders[:DRIVEN] if run.figure_us(c) <= REACH * best_us]


def _keep_verified(run: Run, contender: Contender) -> None:
    """Files the frozen prediction of the scenario's figure beside what was measured."""
    if contender.forecast is None or contender.candidate is None:
        return
    measured = contender.driven.median_us if isinstance(contender.driven, Measurement) else None
    run.verified.append(
        {
            "plan_hash": contender.candidate.hash,
            "predicted": run.aim.figure_us(contender.forecast),
            "measured": measured,
            "feasible": run.feasible(contender),
            "stages": len(contender.candidate.stages),
            "under_load": True,
        }
    )


def closest(run: Run) -> Contender | None:
    """Where nothing that was put under load keeps the latency bound: what comes nearest to it; else None."""
    driven = [
        c for c in run.contenders.values() if c.candidate is not None and c.driven is not None and run.feasible(c)
    ]
    kept = any(isinstance(contender.driven, Measurement) for contender in driven)
    missed = [c for c in driven if isinstance(c.driven, Failure) and c.driven.kind is FailureKind.BOUND]
    return None if kept or not missed else min(missed, key=run.figure_us)
