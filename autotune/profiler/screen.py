"""Screening: many candidates, interleaved rounds in random order in one worker."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from autotune.core import Failure, FailureKind, Measurement
from autotune.profiler.jobs import Job, OpenJob, by_process, median_of, open_each
from autotune.profiler.serve import failure_of
from autotune.profiler.worker import Worker

LIVE_JOBS = 5
MOST_RUNS = 200
MOST_TIMES = 3
"""Rounds go on up to so many times their number while a job's fastest ones disagree."""
SETTLED = 1.1
"""Slowest over fastest of the rounds that count, from where on they disagree: something disturbed them."""
HANGS = 2
"""Jobs of a processor that may hang; then it is the processor, and the others of it would only cost as much time."""


def screen(
    jobs: Sequence[Job],
    *,
    rounds: int = 8,
    round_s: float = 0.02,
    drain_s: float = 0.03,
    seed: int = 0,
    deadline_s: float,
    silence_s: float = math.inf,
    hung: Mapping[str, int] | None = None,
    on_result: Callable[[int, Measurement | Failure], None] | None = None,
) -> list[Measurement | Failure]:
    """Times jobs roughly, a few at a time, interleaved; one that crashes or hangs costs itself only.

    Where two jobs of one processor hang, its others are not tried.

    Args:
        jobs: what to time.
        rounds: samples of each job; a sample is the median of a round's runs. More are made while they disagree.
        round_s: seconds of a round, at least one run.
        drain_s: seconds that a session runs undisturbed before each of its rounds.
        seed: of the order.
        deadline_s: seconds for each group of jobs.
        silence_s: seconds after which a job hangs that opens no session and ends no round.
        hung: how many jobs of each processor hung before.
        on_result: is told of each result as it comes.

    Returns:
        One result per job, in order, with the fastest rounds, half as many as asked for: what else goes on in a
        machine only adds.
    """
    results: dict[int, Measurement | Failure] = {}
    hangs = Counter(hung or {})
    for members in by_process(jobs):
        with Worker() as worker:
            for first in range(0, len(members), LIVE_JOBS):
                protocol = (rounds, round_s, drain_s, seed + first)
                waiting = members[first : first + LIVE_JOBS]
                while waiting:
                    found = _hopeless([jobs[at] for at in waiting], hangs) or _group(
                        worker, [jobs[at] for at in waiting], protocol, (deadline_s, silence_s)
                    )
                    for position, result in found.items():
                        at = waiting[position]
                        results[at] = result
                        if isinstance(result, Failure) and result.kind is FailureKind.HANG:
                            hangs[jobs[at].processor] += 1
                        if on_result is not None:
                            on_result(at, result)
                    waiting = [at for position, at in enumerate(waiting) if position not in found]
    return [results[at] for at in range(len(jobs))]


def _hopeless(jobs: Sequence[Job], hangs: Mapping[str, int]) -> dict[int, Measurement | Failure]:
    """Those whose processor hung too often, as failures."""
    return {
        position: Failure(kind=FailureKind.HANG, message=f"not tried: others on {job.processor} hung")
        for position, job in enumerate(jobs)
        if job.processor and hangs.get(job.processor, 0) >= HANGS
    }


def _group(
    worker: Worker, jobs: Sequence[Job], protocol: tuple[int, float, float, int], limits_s: tuple[float, float]
) -> dict[int, Measurement | Failure]:
    """Results of a group; if the worker died, only those it had and the culprit's failure."""
    deadline_s, silence_s = limits_s
    found: dict[int, Measurement | Failure] = {}
    running = 0
    for item in worker.stream(screen_here, list(jobs), *protocol, deadline_s=deadline_s, silence_s=silence_s):
        if isinstance(item, Failure):
            found.setdefault(running, item)
        elif item[0] == "running":
            running = item[1]
        else:
            found[item[1]] = item[2]
    return found


def screen_here(jobs: Sequence[Job], rounds: int, round_s: float, drain_s: float, seed: int) -> Iterator[Any]:
    """In the worker: what is running, then each job's result."""
    order = random.Random(seed)
    open_jobs: dict[int, OpenJob] = {}
    yield from open_each(jobs, range(len(jobs)), open_jobs)
    samples: dict[int, list[float]] = {at: [] for at in open_jobs}
    for done in range(MOST_TIMES * rounds):
        if done >= rounds and all(settled(fastest(samples[at], rounds)) for at in open_jobs):
            break
        for at in order.sample(sorted(open_jobs), len(open_jobs)):
            yield ("running", at)
            try:
                open_jobs[at].drain(drain_s)
                found = open_jobs[at].samples_us(seconds=round_s, least=1, most=MOST_RUNS)
                samples[at].append(median_of(found))
            except Exception as error:  # noqa: BLE001 - the edge of a worker process
                open_jobs.pop(at).close()
                yield ("result", at, failure_of(error))
    for at, opened in open_jobs.items():
        kept = fastest(samples[at], rounds)
        result = Measurement(samples_us=kept, load_s=opened.load_s, peak_bytes=opened.peak_bytes)
        yield ("running", at)  # sessions that end may crash too
        opened.close()
        yield ("result", at, result)


def fastest(samples: Sequence[float], rounds: int) -> tuple[float, ...]:
    """The fastest of the rounds, half as many as were asked for, the middle one included."""
    return tuple(sorted(samples)[: (rounds + 1) // 2])


def settled(kept: Sequence[float]) -> bool:
    """Whether rounds agree."""
    return not kept or kept[-1] <= SETTLED * kept[0]
