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
from autotune.profiler.sentinel import Sentinel
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
        rounds: in turns; the faster half counts.
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
    marks: dict[str, list[float]] = {"chain": [], "whole": []}
    cut: list[tuple[float, list[float]]] = []
    uncut: list[float] = []
    for _ in range(rounds):
        for kind in order.sample(("chain", "whole"), 2):
            before = sentinel.mark() if sentinel is not None else 0.0
            if kind == "whole":
                alone.drain(DRAIN_S)
                found = alone.samples_us(seconds=round_s, least=LEAST_RUNS, most=200)
                uncut.append(statistics.median(found))
            else:
                stages.drain(DRAIN_S)
                cut.append(_round(stages, round_s))
            marks[kind].append((before + sentinel.mark()) / 2 if sentinel is not None else 1.0)
    stages.close()
    alone.close()
    fastest = sentinel.fastest_us if sentinel is not None else 1.0
    even = [
        (total * fastest / mark, [us * fastest / mark for us in times])
        for (total, times), mark in zip(cut, marks["chain"], strict=True)
    ]
    whole_us = [us * fastest / mark for us, mark in zip(uncut, marks["whole"], strict=True)]
    kept = sorted(even, key=lambda pair: pair[0])[: (rounds + 1) // 2]
    return ChainTimes(
        stages_us=tuple(statistics.median(column) for column in zip(*(times for _, times in kept), strict=True)),
        whole_us=statistics.median(sorted(whole_us)[: (rounds + 1) // 2]),
        sentinel_us=fastest if sentinel is not None else 0.0,
    )


def _round(opened: OpenJob, round_s: float) -> tuple[float, list[float]]:
    """Time of a sample in µs, and of each stage's share of it."""
    callers = opened.job.callers
    if callers == 1:
        runs = _runs(opened, round_s)
        times = [statistics.median(column) for column in zip(*runs, strict=True)]
        return sum(times), times
    with ThreadPoolExecutor(callers) as pool:
        begin = time.perf_counter()
        found = [
            run for future in [pool.submit(_runs, opened, round_s) for _ in range(callers)] for run in future.result()
        ]
        per_sample = (time.perf_counter() - begin) * 1e6 / len(found)
    walls = [statistics.fmean(column) for column in zip(*found, strict=True)]
    return per_sample, [wall * per_sample / sum(walls) for wall in walls]


def _runs(opened: OpenJob, round_s: float) -> Sequence[list[float]]:
    found: list[list[float]] = []
    end = time.perf_counter() + round_s
    while len(found) < LEAST_RUNS or time.perf_counter() < end:
        found.append(opened.stage_times_us())
    return found
