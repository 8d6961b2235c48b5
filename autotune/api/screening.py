"""Contenders screened beside one that is known, so that what the machine does meanwhile drops out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from autotune.api.run import DEFAULT, Contender, Run
from autotune.core import Failure, FailureKind, Measurement
from autotune.profiler import Job, available_bytes, screen

GROUP = 4
"""Contenders that are open at the same time, beside the reference."""
ROUND_S = 0.02
MAX_ROUNDS = 6
MIN_ROUNDS = 3
MEMORY_SHARE = 0.5
"""Of the memory that is free, for sessions that are open at the same time."""
START_S = 0.5
"""Of a worker process, about."""
LEAST_PATIENCE_S = 30.0
"""Without a sign of life from a job, at least: enough for a provider that compiles the model when it opens it."""
PATIENCE_SHARE = 0.1
"""Of the budget that is left: who gives much time means that compiling may take long."""
SLOWER = 10.0
"""Times the default's time that opening a session, or a round of runs, may take."""


def screen_beside(
    run: Run, reference: Contender | None, contenders: Sequence[Contender], *, phase: str, rounds: int, seed: int
) -> list[float]:
    """Screens contenders in small groups, the reference in each of them, and files the results.

    A machine is not equally fast all the time. The reference takes that out: every time of a group is divided by how
    much slower the reference was in it than when it was measured first. An interrupt loses only the group that it came
    in.

    Args:
        run: the search; its contenders get the results.
        reference: measured before; None, or one that failed, takes the times as they are.
        contenders: what to time.
        phase: name for the progress.
        rounds: samples of each.
        seed: of the order.

    Returns:
        How much slower the reference was in each group than before; empty without one.
    """
    drifts: list[float] = []
    size = min(GROUP, sessions_that_fit(run) - 1)
    beside = [reference] if reference is not None and isinstance(reference.result, Measurement) else []
    for first in range(0, len(contenders), size):
        group = list(contenders[first : first + size])
        run.observer.progress(phase, first, len(contenders), text=", ".join(contender.name for contender in group))
        jobs = [contender.job for contender in (*beside, *group)]
        results = screen(
            jobs,
            rounds=rounds,
            round_s=ROUND_S,
            seed=seed + first,
            deadline_s=deadline_s(run),
            silence_s=patience_s(run, jobs),
            hung=_hung(run),
        )
        run.counters.device_measurements += len(jobs)
        again = results[0]
        drift = 1.0
        if beside and isinstance(again, Measurement):
            drift = again.median_us / beside[0].median_us
            drifts.append(drift)
        for contender, result in zip(group, results[len(beside) :], strict=True):
            contender.result = without_drift(result, drift)
            run.contenders[contender.name] = contender
    return drifts


def sessions_that_fit(run: Run) -> int:
    """How many sessions of the whole model may be open at the same time, by what the default's took; at least two."""
    default = run.contenders.get(DEFAULT)
    if default is None or not isinstance(default.result, Measurement):
        return GROUP + 1
    return max(2, int(MEMORY_SHARE * available_bytes() / max(1, default.result.peak_bytes)))


def affordable(
    run: Run, default: Contender, contenders: Sequence[Contender], *, share_s: float
) -> tuple[list[Contender], int]:
    """What the budget has time to screen, and rounds of it.

    Args:
        run: the search.
        default: measured before: the others are taken to be no slower.
        contenders: what should be screened.
        share_s: seconds for all of them; where those are too few, the first of them get all that is left.
    """
    if not isinstance(default.result, Measurement):
        return list(contenders), MIN_ROUNDS
    opening_s, round_s = _cost_s(run, default, contenders)
    rounds = int((share_s - opening_s) / round_s)
    if rounds >= MIN_ROUNDS:
        return list(contenders), min(MAX_ROUNDS, rounds)
    first = _broad_first(contenders)
    for count in range(len(contenders), 0, -1):
        opening_s, round_s = _cost_s(run, default, first[:count])
        if opening_s + MIN_ROUNDS * round_s < run.budget.left_s:
            return first[:count], MIN_ROUNDS
    return [], 0


def _cost_s(run: Run, default: Contender, contenders: Sequence[Contender]) -> tuple[float, float]:
    """Seconds to open these contenders, the default beside each group, and of one round of them."""
    groups = math.ceil(len(contenders) / GROUP)
    jobs = [*(contender.job for contender in contenders), *[default.job] * groups]
    load_s = default.result.load_s if isinstance(default.result, Measurement) else 0.0
    requests = sum(_round_requests(run, job) for job in jobs)
    return groups * START_S + len(jobs) * load_s, len(jobs) * 0.05 + requests * default.median_us * 1e-6


def _round_requests(run: Run, job: Job) -> int:
    """Inferences of one round of a slow job: a run to drain and one that counts, bursts where several overlap."""
    return (4 if run.overlapping else 2) * job.callers * job.batch


def _broad_first(contenders: Sequence[Contender]) -> list[Contender]:
    """Of every processor and precision the first, then the second, and so on; their order is that of promise."""
    seen: Counter[tuple[str, ...]] = Counter()
    ranks = []
    for contender in contenders:
        lane = contender.lanes[0] if contender.lanes else None
        kind = lane.kind if lane else (contender.kind,)
        ranks.append(seen[kind])
        seen[kind] += 1
    order = sorted(range(len(contenders)), key=lambda at: ranks[at])
    return [contenders[at] for at in order]


def deadline_s(run: Run) -> float:
    """Seconds after which a group is given up."""
    return max(30.0, run.budget.left_s)


def patience_s(run: Run, jobs: Sequence[Job]) -> float:
    """Seconds without a sign of life after which one of these jobs hangs: it costs that, not the budget.

    A sign of life is a session that is open or a round of runs that ended; what either may take is told by the default.
    """
    known_s, default = 0.0, run.contenders.get(DEFAULT)
    if default is not None and isinstance(default.result, Measurement):
        requests = max(_round_requests(run, job) for job in (default.job, *jobs))
        known_s = default.result.load_s + requests * default.median_us * 1e-6
    return max(LEAST_PATIENCE_S, SLOWER * known_s, PATIENCE_SHARE * run.budget.left_s)


def _hung(run: Run) -> Counter[str]:
    """How many settings of each processor hung so far."""
    results = ((contender.job.processor, contender.result) for contender in run.contenders.values())
    return Counter(name for name, found in results if isinstance(found, Failure) and found.kind is FailureKind.HANG)


def without_drift(result: Measurement | Failure, drift: float) -> Measurement | Failure:
    """The result as it would have been on a machine `drift` times as fast."""
    if isinstance(result, Failure):
        return result
    samples = tuple(sample / drift for sample in result.samples_us)
    return Measurement(samples_us=samples, load_s=result.load_s, peak_bytes=result.peak_bytes)
