"""Deciding: the process launch is the replicate."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from autotune.core import Failure, FailureKind, Measurement
from autotune.profiler.jobs import Job, OpenJob, by_process, open_each
from autotune.profiler.load import Goal, default_generator, generator, trial_of
from autotune.profiler.serve import failure_of
from autotune.profiler.worker import Worker

BLOCKS = 4
LEAST_SAMPLES = 4


def decide(
    jobs: Sequence[Job],
    *,
    launches: int = 6,
    runs: int = 20,
    drain_s: float = 0.05,
    seed: int = 0,
    deadline_s: float,
    silence_s: float = math.inf,
    stop: Callable[[], bool] | None = None,
    on_launch: Callable[[int, Sequence[Measurement | Failure]], None] | None = None,
    time_cap_s: float = 1.5,
    goals: Sequence[Goal] = (),
    generator_name: str = "",
) -> list[list[Measurement | Failure]]:
    """Times jobs in fresh processes, all of them in each, interleaved in blocks; pinned OpenVINO in ones of its own.

    Sessions in one process agree within 1 %, launches differ by 2–7 %: the launch is what must be repeated.

    Args:
        jobs: what to time.
        launches: fresh processes.
        runs: samples of each job in each launch.
        drain_s: seconds that a session runs undisturbed before each of its blocks.
        seed: of the orders.
        deadline_s: seconds for each launch.
        silence_s: seconds after which a job hangs that opens no session and ends no block of runs.
        stop: asked between launches whether to end early.
        on_launch: told after each launch how many are done, and what it gave for each job.
        time_cap_s: most seconds of samples per job and launch.
        goals: what is asked of each job under load, instead of so many runs; empty: there is no load.
        generator_name: who makes the load; empty: LoadGen where it is installed.

    Returns:
        [job][launch]; a job that crashed or hung is a Failure from then on, one that missed its bound in that launch.
    """
    results: list[list[Measurement | Failure]] = [[] for _ in jobs]
    broken: dict[int, Failure] = {}
    limits_s = (deadline_s, silence_s)
    for launch in range(launches):
        if stop is not None and launch and stop():
            break
        this_seed = seed * 1009 + launch
        found: dict[int, Measurement | Failure] = {}
        for members in by_process(jobs):
            if goals:
                protocol = (drain_s, this_seed, generator_name)
                found |= _launch(jobs, members, broken, drive_here, protocol, limits_s, goals)
            else:
                timed = (runs, drain_s, time_cap_s, this_seed)
                found |= _launch(jobs, members, broken, decide_here, timed, limits_s)
        for at in range(len(jobs)):
            results[at].append(found[at])
        if on_launch is not None:
            on_launch(launch + 1, [found[at] for at in range(len(jobs))])
    return results


def _launch(
    jobs: Sequence[Job],
    members: Sequence[int],
    broken: dict[int, Failure],
    measure: Callable[..., Iterator[Any]],
    protocol: tuple[Any, ...],
    limits_s: tuple[float, float],
    goals: Sequence[Goal] = (),
) -> dict[int, Measurement | Failure]:
    """One launch of some of the jobs, repeated without the culprit when one brings the process down."""
    deadline_s, silence_s = limits_s
    while True:
        alive = [at for at in members if at not in broken]
        found: dict[int, Measurement | Failure] = {at: broken[at] for at in members if at in broken}
        if not alive:
            return found
        running, died = 0, False
        asked = [[jobs[at] for at in alive], *([[goals[at] for at in alive]] if goals else [])]
        with Worker() as worker:
            for item in worker.stream(measure, *asked, *protocol, deadline_s=deadline_s, silence_s=silence_s):
                if isinstance(item, Failure):
                    broken[alive[running]] = item
                    died = True
                elif item[0] == "running":
                    running = item[1]
                else:
                    result = found[alive[item[1]]] = item[2]
                    if isinstance(result, Failure) and result.kind is not FailureKind.BOUND:
                        broken[alive[item[1]]] = result
        if not died:
            return found


def decide_here(jobs: Sequence[Job], runs: int, drain_s: float, time_cap_s: float, seed: int) -> Iterator[Any]:
    """In the worker: what is running, then each job's result."""
    order = random.Random(seed)
    open_jobs: dict[int, OpenJob] = {}
    yield from open_each(jobs, order.sample(range(len(jobs)), len(jobs)), open_jobs)
    samples: dict[int, list[float]] = {at: [] for at in open_jobs}
    for _ in range(BLOCKS):
        for at in order.sample(sorted(open_jobs), len(open_jobs)):
            yield ("running", at)
            try:
                opened = open_jobs[at]
                opened.drain(drain_s)
                samples[at] += opened.samples_us(
                    seconds=time_cap_s / BLOCKS, least=LEAST_SAMPLES // BLOCKS, most=max(1, runs // BLOCKS)
                )
            except Exception as error:  # noqa: BLE001 - the edge of a worker process
                open_jobs.pop(at).close()
                yield ("result", at, failure_of(error))
    for at, opened in open_jobs.items():
        result = Measurement(samples_us=tuple(samples[at]), load_s=opened.load_s, peak_bytes=opened.peak_bytes)
        yield ("running", at)  # sessions that end may crash too
        opened.close()
        yield ("result", at, result)


def drive_here(
    jobs: Sequence[Job], goals: Sequence[Goal], drain_s: float, seed: int, generator_name: str
) -> Iterator[Any]:
    """In the worker: jobs under load in turns, a run each, until all goals are reached; what runs, then results."""
    order = random.Random(seed)
    open_jobs: dict[int, OpenJob] = {}
    yield from open_each(jobs, order.sample(range(len(jobs)), len(jobs)), open_jobs)
    maker = generator(generator_name) if generator_name else default_generator()
    trials = {at: trial_of(goals[at], batch=jobs[at].batch) for at in open_jobs}
    while waiting := [at for at in sorted(open_jobs) if not trials[at].done]:
        for at in order.sample(waiting, len(waiting)):
            yield ("running", at)
            opened = open_jobs[at]
            try:
                opened.drain(drain_s)
                trials[at].step(partial(maker.drive, opened.issue), seed=seed)
            except Exception as error:  # noqa: BLE001 - the edge of a worker process
                open_jobs.pop(at).close()
                yield ("result", at, failure_of(error))
    for at, opened in open_jobs.items():
        yield ("running", at)
        opened.close()
        yield ("result", at, trials[at].result(load_s=opened.load_s, peak_bytes=opened.peak_bytes))
