"""Several models measured while all of them are served: each in a closed loop of requests, in one process."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from autotune.core import Failure
from autotune.profiler.jobs import Job, feeds_of, open_job
from autotune.profiler.worker import Worker
from autotune.runtime import Together

Span = tuple[float, float]
"""Begin and end of a request, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointJob:
    """Several models that are served at the same time.

    Args:
        name: unique among the jobs of one measurement.
        members: one per model, named after it.
        turns: groups of names of which only one runs at a time.
        weights: share of the time by name, where several of a group wait.
    """

    name: str
    members: tuple[Job, ...]
    turns: tuple[tuple[str, ...], ...] = ()
    weights: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTimes:
    """What one model got in one launch.

    Args:
        each_us: microseconds per sample, one over its throughput.
        latencies_us: of its requests.
    """

    each_us: float
    latencies_us: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTimes:
    """What one launch of a joint job gave.

    Args:
        members: [M] in the job's order.
        load_s: seconds to create all sessions.
    """

    members: tuple[MemberTimes, ...]
    load_s: float


JointResult = JointTimes | Failure


def measure_together(
    jobs: Sequence[JointJob],
    *,
    launches: int,
    span_s: float,
    warm_s: float = 0.15,
    seed: int = 0,
    deadline_s: float,
    stop: Callable[[], bool] | None = None,
    on_result: Callable[[int, JointResult], None] | None = None,
) -> list[list[JointResult]]:
    """Measures joint jobs, each in a process of its own, in random order within every launch.

    A process of its own keeps what one job leaves behind (threads that spin, cores that a provider holds) from the
    others; the launch is the replicate, so that ratios within it are paired.

    Args:
        jobs: what to measure.
        launches: how often.
        span_s: seconds that are counted.
        warm_s: seconds before that all models already run.
        seed: of the orders.
        deadline_s: seconds for each process.
        stop: asked between launches whether to end early.
        on_result: told of each result as it comes: which job, and what it gave.

    Returns:
        [job][launch]; a job that failed is a Failure from then on.
    """
    results: list[list[JointResult]] = [[] for _ in jobs]
    order = random.Random(seed)
    for launch in range(launches):
        if stop is not None and launch and stop():
            break
        for at in order.sample(range(len(jobs)), len(jobs)):
            found: JointResult
            if results[at] and isinstance(results[at][-1], Failure):
                found = results[at][-1]
            else:
                with Worker() as worker:
                    found = worker.call(together_here, jobs[at], span_s, warm_s, deadline_s=deadline_s)
            results[at].append(found)
            if on_result is not None:
                on_result(at, found)
    return results


def together_here(job: JointJob, span_s: float, warm_s: float) -> JointTimes:
    """In the worker: all models' callers run for a while; what falls into the span counts."""
    begin = time.perf_counter()
    with ExitStack() as opened:
        runners = {}
        for member in job.members:
            runners[member.name] = open_job(member)
            opened.callback(runners[member.name].close)
        callers = {member.name: member.callers for member in job.members}
        together = Together(runners, turns=job.turns, weights=dict(job.weights), callers=callers)
        opened.callback(together.close)
        feeds = {member.name: feeds_of(member) for member in job.members}
        for name in runners:
            together.run(name, None, feeds[name])
        load_s = time.perf_counter() - begin
        spans, start = _serve(together, job, feeds, warm_s, span_s)
    return JointTimes(
        members=tuple(_times(spans[at], start, start + span_s, member.batch) for at, member in enumerate(job.members)),
        load_s=load_s,
    )


def _serve(
    together: Together, job: JointJob, feeds: Mapping[str, Mapping[str, Any]], warm_s: float, span_s: float
) -> tuple[list[list[Span]], float]:
    """[M] the requests of each model, and when counting began."""
    spans: list[list[Span]] = [[] for _ in job.members]
    errors: list[BaseException] = []
    until = [float("inf")]
    count = sum(member.callers for member in job.members)
    ready = threading.Barrier(count + 1)

    def caller(at: int, name: str) -> None:
        own: list[Span] = []
        try:
            ready.wait()
            before = time.perf_counter()
            while before < until[0] or not own:
                together.run(name, None, feeds[name])
                now = time.perf_counter()
                own.append((before, now))
                before = now
        except BaseException as error:  # noqa: BLE001 - it belongs to the whole measurement
            errors.append(error)
            until[0] = 0.0
        spans[at] += own

    threads = [
        threading.Thread(target=caller, args=(at, member.name), daemon=True)
        for at, member in enumerate(job.members)
        for _ in range(member.callers)
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter() + warm_s
    until[0] = min(until[0], start + span_s)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return spans, start


def _times(spans: Sequence[Span], start: float, stop: float, batch: int) -> MemberTimes:
    """Throughput and latencies; a request that is only partly in the span counts as that part.

    A model that the others kept from running in the whole span counts as one request, from its start to its end.
    """
    inside = [(begin, end) for begin, end in spans if end > start and begin < stop]
    if not inside:
        inside = [(start, max(end for _, end in spans))]
        stop = max(stop, inside[0][1])
    done = sum((min(end, stop) - max(begin, start)) / (end - begin) for begin, end in inside)
    return MemberTimes(
        each_us=(stop - start) * 1e6 / (done * batch),
        latencies_us=tuple((end - begin) * 1e6 for begin, end in inside),
    )
