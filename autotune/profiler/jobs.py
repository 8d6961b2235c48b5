"""Something that can be timed or run, and how a worker opens it."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotune.core import Lane, Scenario
from autotune.errors import UsageError
from autotune.graph import load_arrays
from autotune.processors import SessionSpec, create_policy_session, create_session
from autotune.profiler.serve import failure_of
from autotune.runtime import StageRunner

MAX_DRAIN_RUNS = 3
SLOW = 10.0
"""Times its drain that a run takes from where on waiting does as well: a spinning predecessor slows its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStage:
    """One file and the lane that runs it."""

    file: str
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that can be timed or run.

    Args:
        name: unique among the jobs of one measurement.
        stages: in the order they run.
        outputs: tensors to give.
        feeds: npz with one sample, arrays named as the inputs.
        callers: threads that run it at the same time.
        batch: samples joined into one run; the files must be made for it.
        scenario: SingleStream times single runs, the others bursts; under load `issue` starts them.
        spec: literal session options instead of the lane's; single stage only.
        policy: a device policy of ONNX Runtime instead; single stage only.
    """

    name: str
    stages: tuple[JobStage, ...]
    outputs: tuple[str, ...]
    feeds: str
    callers: int = 1
    batch: int = 1
    scenario: Scenario = Scenario.SINGLE_STREAM
    spec: SessionSpec | None = None
    policy: str = ""

    @property
    def processor(self) -> str:
        """The one processor that it runs on; empty where there are several, or options or a policy decide."""
        names = {stage.lane.processor for stage in self.stages}
        return names.pop() if len(names) == 1 and self.spec is None and not self.policy else ""

    @property
    def holds_process(self) -> bool:
        """Whether it pins OpenVINO's threads, which are the process's: other sessions of OpenVINO lose cores by it."""
        lanes = (stage.lane for stage in self.stages)
        return any(lane.processor.startswith("openvino:") and lane.concurrency.cores for lane in lanes)


def by_process(jobs: Sequence[Job]) -> list[list[int]]:
    """Positions of jobs that may share a process: those that hold it for themselves apart from the others."""
    groups = [[at for at, job in enumerate(jobs) if job.holds_process == holds] for holds in (False, True)]
    return [group for group in groups if group]


def open_job(job: Job) -> StageRunner:
    """The job's sessions."""
    if job.policy:
        policy = job.policy
        return StageRunner(
            [(stage.file, stage.lane) for stage in job.stages],
            job.outputs,
            create=lambda model, _lane, cache=None: create_policy_session(model, policy),  # noqa: ARG005
        )
    if job.spec is not None:
        spec = job.spec
        return StageRunner([(stage.file, spec) for stage in job.stages], job.outputs, create=create_session)
    return StageRunner([(stage.file, stage.lane) for stage in job.stages], job.outputs)


def feeds_of(job: Job) -> dict[str, np.ndarray]:
    """One run's inputs: the sample, repeated to fill the batch."""
    feeds = load_arrays(job.feeds)
    return {name: np.concatenate([array] * job.batch) for name, array in feeds.items()} if job.batch > 1 else feeds


class OpenJob:
    """A job whose sessions are open in this process.

    Args:
        job: what to open.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        before = resident_bytes()
        begin = time.perf_counter()
        self._runner = open_job(job)
        self.load_s = time.perf_counter() - begin
        self._feeds = feeds_of(job)
        self._bursts = job.callers > 1 or job.scenario.overlapping
        self._pool = ThreadPoolExecutor(job.callers) if job.callers > 1 or job.scenario.under_load else None
        self._run_s = 0.0
        self.once()
        self.peak_bytes = BASE_BYTES + max(0, resident_bytes() - before)

    def once(self) -> float:
        """Seconds of one run."""
        begin = time.perf_counter()
        self._runner.run(None, self._feeds)
        return time.perf_counter() - begin

    def issue(self, number: int) -> Future[list[np.ndarray]]:  # noqa: ARG002 - every request has the same sample
        """Starts one run as soon as a caller is free.

        Raises:
            UsageError: the job's scenario has no requests that wait.
        """
        if self._pool is None:
            raise UsageError(f"{self.job.scenario} issues no requests: there is one caller")
        return self._pool.submit(self._runner.run, None, self._feeds)

    def stage_times_us(self) -> list[float]:
        """Microseconds of each stage in one run."""
        return self._runner.stage_times_us(self._feeds)

    def drain(self, seconds: float) -> float:
        """Runs undisturbed for a while, so that spinning pools of others come to rest; gives the last run's seconds.

        A job whose runs are known to take far longer waits instead: a run more would cost as much as one that counts.
        """
        if self._run_s > SLOW * seconds:
            time.sleep(seconds)
            return self._run_s
        end = time.perf_counter() + seconds
        last = self._burst(1) if self._bursts else self.once()
        runs = 1
        while time.perf_counter() < end and not (runs >= MAX_DRAIN_RUNS and last > seconds):
            last = self._burst(1) if self._bursts else self.once()
            runs += 1
        self._run_s = last
        return last

    def samples_us(self, *, seconds: float, least: int, most: int) -> list[float]:
        """Microseconds per run (SingleStream) or per sample (Offline)."""
        if self._bursts:
            return self._bursts_us(seconds, least)
        found: list[float] = []
        end = time.perf_counter() + seconds
        while len(found) < least or (len(found) < most and time.perf_counter() < end):
            found.append(self.once() * 1e6)
        self._run_s = found[-1] * 1e-6
        return found

    def _bursts_us(self, seconds: float, least: int) -> list[float]:
        requests = max(2, round(seconds / max(self._run_s or self._burst(1), 1e-6)))
        per_sample = 1e6 / (requests * self.job.callers * self.job.batch)
        bursts_s = [self._burst(requests) for _ in range(max(1, least // 3))]
        self._run_s = bursts_s[-1] / requests
        return [burst_s * per_sample for burst_s in bursts_s]

    def _burst(self, requests: int) -> float:
        """Wall seconds in which every caller runs `requests` times."""
        if self._pool is None:
            return sum(self.once() for _ in range(requests))
        begun: list[float] = []  # set before any caller goes on: this thread may get a core only when they have ended
        ready = threading.Barrier(self.job.callers + 1, action=lambda: begun.append(time.perf_counter()))
        run, feeds = self._runner.run, self._feeds

        def caller() -> None:
            ready.wait()
            for _ in range(requests):
                run(None, feeds)

        futures = [self._pool.submit(caller) for _ in range(self.job.callers)]
        ready.wait()
        for future in futures:
            future.result()
        return time.perf_counter() - begun[0]

    def close(self) -> None:
        """Lets go of the sessions."""
        self._runner.close()
        if self._pool is not None:
            self._pool.shutdown()


def median_of(samples: list[float]) -> float:
    """Median, for the worker."""
    return statistics.median(samples)


def resident_bytes() -> int:
    """Resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        import psutil

        return int(psutil.Process().memory_info().rss)


def available_bytes() -> int:
    """Memory of this machine that can be had without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


BASE_BYTES = resident_bytes()
Opener = Callable[[Job], OpenJob]


def open_each(jobs: Sequence[Job], order: Iterable[int], open_jobs: dict[int, OpenJob]) -> Iterator[Any]:
    """In the worker: opens the jobs in that order, into `open_jobs`; what is running, and failures."""
    for at in order:
        yield ("running", at)
        try:
            open_jobs[at] = OpenJob(jobs[at])
        except Exception as error:  # noqa: BLE001 - the edge of a worker process
            yield ("result", at, failure_of(error))
