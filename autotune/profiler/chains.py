"""Stages timed where they work: one after the other in the whole model, not each alone in a loop.

Alone, a stage finds its data in the caches and its threads awake; in a plan another stage ran before it.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from autotune.core import Failure
from autotune.profiler.jobs import Job, OpenJob
from autotune.profiler.sentinel import Mark, Sentinel, between
from autotune.profiler.worker import Worker

DRAIN_S = 0.03
LEAST_RUNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTimes:
    """A model cut into stages, beside the model whole.

    Args:
        stages_us: µs of each stage; with several callers, its share of a sample's time.
        whole_us: µs of the model as one session, measured in turn with the chain.
        sentinel_us: what the lane's sentinel takes at the speed of these times; 0 with several callers.
    """

    stages_us: tuple[float, ...]
    whole_us: float
    sentinel_us: float = 0.0


def time_chain(
    chain: Job, whole: Job, *, rounds: int, round_s: float, seed: int, deadline_s: float
) -> ChainTimes | Failure:
    """Times the stages of a job inside it.

    Args:
        chain: a job of several stages.
        whole: the same model as one.
        rounds: in turns; the faster half counts, brought to the speed of the machine at its fastest.
        round_s: seconds of each, at least two runs.
        seed: of the order.
        deadline_s: seconds for all of it.
    """
    with Worker() as worker:
        found: ChainTimes | Failure = worker.call(
            chain_here, chain, whole, rounds, round_s, seed, deadline_s=deadline_s
        )
    return found


def chain_here(chain: Job, whole: Job, rounds: int, round_s: float, seed: int) -> ChainTimes:
    """In the worker."""
    order = random.Random(seed)
    stages, alone = OpenJob(chain), OpenJob(whole)
    sentinel = Sentinel(chain.stages[0].lane) if chain.callers == 1 else None

    def mark() -> Mark:
        return sentinel.mark() if sentinel is not None else ()

    cut: list[tuple[list[float], Mark, Mark]] = []
    uncut: list[tuple[list[float], Mark, Mark]] = []
    for _ in range(rounds):
        for kind in order.sample(("chain", "whole"), 2):
            before = mark()
            if kind == "whole":
                alone.drain(DRAIN_S)
                found = alone.samples_us(seconds=round_s, least=LEAST_RUNS, most=200)
                uncut.append(([statistics.median(found)], before, mark()))
            else:
                stages.drain(DRAIN_S)
                cut.append((_round(stages, round_s), before, mark()))
    stages.close()
    alone.close()
    fastest = sentinel.fastest if sentinel is not None else ()
    return ChainTimes(
        stages_us=_at_the_fastest(cut, fastest),
        whole_us=_at_the_fastest(uncut, fastest)[0],
        sentinel_us=sentinel.level_us if sentinel is not None else 0.0,
    )


def _at_the_fastest(rounds: Sequence[tuple[list[float], Mark, Mark]], fastest: Mark) -> tuple[float, ...]:
    """Medians over the faster half as measured: not every stage is slowed down as the sentinel is."""
    kept = sorted(rounds, key=lambda found: sum(found[0]))[: (len(rounds) + 1) // 2]
    even = [[us / between(before, after, fastest) if fastest else us for us in times] for times, before, after in kept]
    return tuple(statistics.median(column) for column in zip(*even, strict=True))


def _round(opened: OpenJob, round_s: float) -> list[float]:
    """Time of each stage in µs; with several callers its share of a sample's."""
    callers = opened.job.callers
    if callers == 1:
        return [statistics.median(column) for column in zip(*_runs(opened, round_s), strict=True)]
    with ThreadPoolExecutor(callers) as pool:
        begin = time.perf_counter()
        found = [
            run for future in [pool.submit(_runs, opened, round_s) for _ in range(callers)] for run in future.result()
        ]
        per_sample = (time.perf_counter() - begin) * 1e6 / len(found)
    walls = [statistics.fmean(column) for column in zip(*found, strict=True)]
    return [wall * per_sample / sum(walls) for wall in walls]


def _runs(opened: OpenJob, round_s: float) -> Sequence[list[float]]:
    found: list[list[float]] = []
    end = time.perf_counter() + round_s
    while len(found) < LEAST_RUNS or time.perf_counter() < end:
        found.append(opened.stage_times_us())
    return found
