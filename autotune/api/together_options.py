"""What each model can run on, from its own search."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from autotune.api.run import DEFAULT, Contender, Run
from autotune.core import Candidate, Lane, Precision
from autotune.planning import Option

REACH = 2.0
"""An option is kept while it takes at most this many times as long as the best on as many cores."""
MOST_PER_SIZE = 4


def options_of(run: Run) -> tuple[Option, ...]:
    """Feasible lanes and partitions that are not pinned, the fastest for each number of cores.

    Times of pinned ones hold on their cores only, and joint plans choose cores themselves.
    """
    found = [
        Option(candidate=contender.candidate, each_us=contender.median_us)
        for contender in (*_free(run.singles()), *_free(run.partitions())[:2])
        if contender.candidate is not None and contender.name != DEFAULT and run.feasible(contender)
    ]
    found += [*_between(run), *_narrower(run)]
    by_size: dict[int, list[Option]] = {}
    for option in sorted(found, key=lambda o: o.each_us):
        same = by_size.setdefault(option.cores, [])
        if len(same) < MOST_PER_SIZE and option.each_us <= REACH * (same[0].each_us if same else math.inf):
            same.append(option)
    default = run.contenders[DEFAULT]
    if not by_size and default.candidate is not None:
        return (Option(candidate=default.candidate, each_us=default.median_us),)
    return tuple(option for same in by_size.values() for option in same)


def _free(contenders: list[Contender]) -> list[Contender]:
    return [contender for contender in contenders if not any(lane.concurrency.cores for lane in contender.lanes)]


def _between(run: Run) -> list[Option]:
    """Numbers of threads that were not measured, between two that were: a part scales with threads, the rest does not.

    Threads change outputs by rounding only, so that the error measured for the lane's precision stands for them.
    """
    known: dict[tuple[str, Precision], dict[int, Contender]] = {}
    for contender in _free(run.singles()):
        lane = contender.lanes[0]
        if _plain(contender) and lane.concurrency.threads and lane.concurrency.spinning is None:
            known.setdefault(lane.kind, {})[lane.concurrency.threads] = contender
    found = []
    for measured in known.values():
        counts = sorted(measured)
        for low, high in itertools.pairwise(counts):
            few, many = measured[low], measured[high]
            if not run.feasible(many) or few.candidate is None:
                continue
            scaling_us = (few.median_us - many.median_us) / (1 / low - 1 / high)
            for threads in range(low + 1, high):
                each_us = many.median_us + scaling_us * (1 / threads - 1 / high)
                found.append(Option(candidate=_with_threads(few.candidate, threads), each_us=each_us))
    return found


def _narrower(run: Run) -> list[Option]:
    """The best partition with other numbers of threads: each of its lanes scales as the whole model does there."""
    best = next(iter(_free(run.partitions())), None)
    if best is None or best.candidate is None or best.candidate.callers > 1 or best.candidate.batch > 1:
        return []
    alone = {c.lanes[0]: c.median_us for c in run.singles() if _plain(c)}
    counts = {lane.concurrency.threads for lane in alone}
    found = []
    for threads in sorted(counts - {lane.concurrency.threads for lane in best.lanes}):
        ratios = [_ratio(alone, lane, threads) for lane in best.lanes]
        if all(ratios):
            each_us = best.median_us * sum(ratios) / len(ratios)
            found.append(Option(candidate=_with_threads(best.candidate, threads), each_us=each_us))
    return found


def _plain(contender: Contender) -> bool:
    candidate = contender.candidate
    return candidate is not None and candidate.callers == candidate.batch == 1 and contender.name != DEFAULT


def _ratio(alone: dict[Lane, float], lane: Lane, threads: int) -> float:
    """How much longer the whole model takes on a lane with so many threads; 0 where that is not known."""
    setting = lane.concurrency
    now = alone.get(lane) or alone.get(replace(lane, concurrency=replace(setting, spinning=None)))
    then = alone.get(replace(lane, concurrency=replace(setting, threads=threads, spinning=None)))
    return then / now if now and then else 0.0


def _with_threads(candidate: Candidate, threads: int) -> Candidate:
    return replace(
        candidate,
        stages=tuple(
            replace(
                stage,
                lane=replace(stage.lane, concurrency=replace(stage.lane.concurrency, threads=threads, spinning=None)),
            )
            for stage in candidate.stages
        ),
    )
