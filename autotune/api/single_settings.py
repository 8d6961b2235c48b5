"""The settings at which one processor alone is tried: where to begin, then between the best and its neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autotune.api.run import DEFAULT, Run
from autotune.core import Candidate, Concurrency, Lane, Processor
from autotune.processors import lanes_of

FINE = 1.5
"""Two numbers of threads whose ratio is no larger have nothing between them that is worth a measurement."""
PINNED_FROM = 3
"""Cores from which on threads of one request are also pinned: on two there is nowhere else for them to go."""


def single_candidates(run: Run, processor: Processor) -> list[Candidate]:
    """The settings at which one processor alone is tried first."""
    cores = run.place.device.cores
    lanes = lanes_of(processor, cores=cores)
    if not run.overlapping:
        return [run.whole(lane) for lane in lanes]
    found = []
    for lane in lanes:
        threads = lane.concurrency.threads
        if 0 < threads < len(cores):
            found += _shared_out(run, lane, threads)
            continue
        found.append(run.whole(lane))
        if threads > 1:
            found.append(run.whole(lane, callers=2))
    return list({candidate.hash: candidate for candidate in found}.values())


def finer_candidates(run: Run) -> list[Candidate]:
    """What lies halfway between each processor's best number of threads so far and the next that were tried.

    Asked again after they were measured, it closes in on the best; nothing is left once its neighbours are near.
    """
    count = len(run.place.device.cores)
    allowed = [threads for threads in range(1, count + 1) if not run.overlapping or count % threads == 0]
    times: dict[Lane, dict[int, float]] = {}
    for contender in run.contenders.values():
        threads = contender.lanes[0].threads_each if contender.candidate is not None else 0
        if threads and contender.name != DEFAULT:
            own = times.setdefault(replace(contender.lanes[0], concurrency=Concurrency()), {})
            own[threads] = min(contender.median_us, own.get(threads, math.inf))
    found = []
    for lane, own in times.items():
        for threads in halfway(own, allowed):
            whole = run.whole(replace(lane, concurrency=Concurrency(threads=threads)))
            found += _shared_out(run, lane, threads) if run.overlapping else [whole]
    return found


def halfway(times_us: Mapping[int, float], allowed: Sequence[int]) -> list[int]:
    """Numbers in the middle between the one with the least time and the next smaller and larger one.

    Args:
        times_us: what each number that was tried took, inf where it failed.
        allowed: numbers that may be tried, ascending.
    """
    best = min(times_us, key=lambda number: times_us[number])
    if not math.isfinite(times_us[best]):
        return []
    smaller = [(number, best) for number in sorted(times_us) if number < best]
    larger = [(best, number) for number in sorted(times_us) if number > best]
    found = []
    for low, high in (*smaller[-1:], *larger[:1]):
        between = [number for number in allowed if low < number < high]
        if between and high > FINE * low:
            found.append(between[(len(between) - 1) // 2])
    return found


def pinned_candidates(run: Run) -> list[Candidate]:
    """In SingleStream, the CPU provider's best setting of several threads with each of them on a core of its own.

    Where several requests overlap its streams are pinned as they are tried; OpenVINO takes longer pinned from outside.
    """
    cores = run.place.device.cores
    lanes = [contender.lanes[0] for contender in run.singles() if contender.name != DEFAULT]
    wide = [lane for lane in lanes if lane.processor == "cpu" and lane.concurrency.threads > 1]
    if run.overlapping or len(cores) < PINNED_FROM or not wide:
        return []
    setting = wide[0].concurrency
    return [run.whole(replace(wide[0], concurrency=replace(setting, cores=cores[: setting.threads])))]


def _shared_out(run: Run, lane: Lane, threads: int) -> list[Candidate]:
    """The cores shared out among requests at the same time, so many threads for each.

    The CPU provider is tried with free streams and with pinned ones: callers of one session move between cores. With
    one thread each, streams that are free share nothing but the session.
    """
    cores = run.place.device.cores
    streams = len(cores) // threads
    used = tuple(cores[: threads * streams])
    if lane.processor == "cpu":
        free = Concurrency(threads=threads, streams=streams if threads > 1 else 1)
        settings = [free, Concurrency(threads=threads, streams=streams, cores=used)]
    else:
        settings = [Concurrency(threads=len(used), streams=streams)]
        settings += [Concurrency(threads=threads)] if threads == 1 else []
    return [run.whole(replace(lane, concurrency=setting), callers=streams) for setting in settings]
