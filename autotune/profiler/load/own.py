"""The generator that is always there."""

from __future__ import annotations

import itertools
import random
import threading
import time
from concurrent.futures import Future
from typing import Any

from autotune.core import Scenario
from autotune.errors import MeasurementError
from autotune.profiler.load.values import Issue, Load, LoadReport, report


class OwnGenerator:
    """Plain Python: one thread that issues, a time stamp in each future's callback."""

    name = "own"

    def drive(self, issue: Issue, load: Load) -> LoadReport:
        """Runs a load to its end.

        Raises:
            MeasurementError: an inference failed; those under way have ended.
        """
        run = _Run(issue, load)
        begin = time.perf_counter()
        latency_s = {
            Scenario.SINGLE_STREAM: run.one_by_one,
            Scenario.MULTI_STREAM: run.one_by_one,
            Scenario.SERVER: run.as_they_are_due,
            Scenario.OFFLINE: run.all_at_once,
        }[load.scenario]()
        return report(load, self.name, [one * 1e6 for one in latency_s], time.perf_counter() - begin)


def poisson_s(load: Load) -> list[float]:
    """Seconds from the beginning until each sample of a Server load is due: exponential gaps."""
    rng = random.Random(load.seed)
    return list(itertools.accumulate(rng.expovariate(load.rate_per_s) for _ in range(load.samples)))


class _Run:
    def __init__(self, issue: Issue, load: Load) -> None:
        self._issue, self._load = issue, load
        self._ended = [0.0] * load.samples
        self._open = 0
        self._changed = threading.Condition()
        self._failure: BaseException | None = None

    def one_by_one(self) -> list[float]:
        size = self._load.samples // self._load.queries
        found = []
        for first in range(0, self._load.samples, size):
            begin = time.perf_counter()
            for number in range(first, first + size):
                self._start(number)
            self._wait()
            found.append(max(self._ended[first : first + size]) - begin)
        return found

    def all_at_once(self) -> list[float]:
        begin = time.perf_counter()
        for number in range(self._load.samples):
            self._start(number)
        self._wait()
        return [end - begin for end in self._ended]

    def as_they_are_due(self) -> list[float]:
        """Latencies count from when a request was due, so that a late start is not forgiven."""
        begin = time.perf_counter()
        due = [begin + after_s for after_s in poisson_s(self._load)]
        for number, at in enumerate(due):
            pause = at - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            self._start(number)
        self._wait()
        return [end - at for at, end in zip(due, self._ended, strict=True)]

    def _start(self, number: int) -> None:
        if self._failure is not None:
            self._wait()
        with self._changed:
            self._open += 1
        try:
            future = self._issue(number)
        except BaseException as error:
            with self._changed:
                self._open -= 1
                self._failure = self._failure or error
            if not isinstance(error, Exception):
                raise
            self._wait()
            return
        future.add_done_callback(lambda done: self._note(number, done))

    def _note(self, number: int, done: Future[Any]) -> None:
        self._ended[number] = time.perf_counter()
        error = None if done.cancelled() else done.exception()
        with self._changed:
            self._open -= 1
            if done.cancelled() or error is not None:
                self._failure = error or MeasurementError("it was cancelled")
            self._changed.notify_all()

    def _wait(self) -> None:
        self._settle()
        if self._failure is not None:
            raise MeasurementError(f"an inference under load failed: {self._failure}") from self._failure

    def _settle(self) -> None:
        with self._changed:
            while self._open:
                self._changed.wait()
