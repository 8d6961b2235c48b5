"""The highest rate of arrivals that keeps a latency bound, looked for a run of the generator at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from autotune.core import Scenario
from autotune.errors import UsageError
from autotune.profiler.load.values import Drive, Issue, Load, LoadGenerator, LoadReport

CLOSE_ENOUGH = 1.05
"""Between a rate that keeps the bound and one that does not."""
FIRST_STEP = 1.1
MOST_STEP = 2.0
MOST_RUNS = 12
LOWEST_SHARE = 0.1
"""Of what the job can do at all: no rate below it is tried."""
MISSES = 2
ALONE_QUERIES = (3, 30)
BUDGET_S = 300.0
"""Of `highest_rate`: no run begins that is expected to end later."""
LONG_S, LEAST_QUERIES = 30.0, 20
"""Of its runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """How long runs are.

    Args:
        seconds: of arrivals in one, about.
        least: queries.
        most: queries.
    """

    seconds: float = 1.0
    least: int = 60
    most: int = 300

    def queries(self, rate_per_s: float) -> int:
        """Of a run at a rate."""
        return min(self.most, max(self.least, round(self.seconds * rate_per_s)))


RUNS = Runs()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """The Server scenario under a latency bound.

    Args:
        bound_us: of the 99th percentile.
        best: the run at the highest rate that kept it; None where none did.
        missed: the run at the lowest rate that did not; None where all did, or none was made.
        runs: of Server, and of lone requests where there was one, in their order.
    """

    bound_us: float
    best: LoadReport | None
    missed: LoadReport | None
    runs: tuple[LoadReport, ...]

    @property
    def closest(self) -> LoadReport:
        """The run whose 99th percentile is lowest, for when none kept the bound."""
        return min(self.runs, key=lambda run: run.p99_us)

    @property
    def rate_per_s(self) -> float:
        """Highest rate within the bound, interpolated between `best` and `missed`; 0 where there is none."""
        low, high = self.best, self.missed
        if low is None or high is None:
            return low.load.rate_per_s if low else 0.0
        share = (self.bound_us - low.p99_us) / (high.p99_us - low.p99_us)
        return low.load.rate_per_s + share * (high.load.rate_per_s - low.load.rate_per_s)


class RateSearch:
    """Looks for the rate from where it is expected in growing steps, then by bisection, until both ends are close.

    First comes what the job can do at all, as in Offline: a short run at a higher rate may end before its backlog has
    grown to the bound, but no such rate lasts. All runs see the same arrivals, stretched: latency then grows with the
    rate, not with the luck of the draw. Lone requests tell whether a lower rate can help at all: after two runs that
    missed the bound, or at once where nothing is expected.

    Args:
        bound_us: of the 99th percentile.
        rate_per_s: where it is expected; 0: unknown, then half of what the job can do.
        runs: how long they are.
    """

    def __init__(self, bound_us: float, *, rate_per_s: float = 0.0, runs: Runs = RUNS) -> None:
        self._bound_us, self._size = bound_us, runs
        self._rate, self._step = rate_per_s, FIRST_STEP if rate_per_s else MOST_STEP
        self._most = 0.0
        self._low: LoadReport | None = None
        self._high: LoadReport | None = None
        self._alone: LoadReport | None = None
        self._served = 0
        self._runs: list[LoadReport] = []
        self.done = False
        """Whether it needs no further run."""

    @property
    def next_s(self) -> float:
        """About how long the next run takes; 0 until there was one at some rate."""
        return self._size.queries(self._rate) / self._rate if self._served else 0.0

    def step(self, drive: Drive, *, seed: int) -> None:
        """Makes one more run.

        Args:
            drive: makes it.
            seed: of the arrivals; the same in all steps.
        """
        if self._alone is None and (not self._rate or (self._served == MISSES and self._low is None)):
            self._ask_alone(drive)
        elif not self._most:
            self._ask_for_all(drive)
        else:
            self._serve(drive, seed)

    def _ask_alone(self, drive: Drive) -> None:
        least, queries = ALONE_QUERIES
        if not self._rate:
            once_us = drive(Load(scenario=Scenario.SINGLE_STREAM, queries=1)).p50_us
            queries = min(queries, max(least, round(self._size.seconds * 1e6 / once_us)))
        self._alone = drive(Load(scenario=Scenario.SINGLE_STREAM, queries=queries))
        self._runs.append(self._alone)
        self.done = self._alone.p90_us > self._bound_us

    def _ask_for_all(self, drive: Drive) -> None:
        rate = self._rate or (1e6 / self._alone.p50_us if self._alone else 0.0)
        queries = max(1, self._size.queries(rate) // 2)
        self._most = drive(Load(scenario=Scenario.OFFLINE, queries=queries)).throughput_per_s
        self._rate = min(self._rate or self._most / 2, self._most)

    def _serve(self, drive: Drive, seed: int) -> None:
        queries = self._size.queries(self._rate)
        run = drive(Load(scenario=Scenario.SERVER, queries=queries, rate_per_s=self._rate, seed=seed))
        self._served += 1
        self._runs.append(run)
        if run.p99_us <= self._bound_us:
            self._low = run
        else:
            self._high = run
        low, high = (run.load.rate_per_s if run else 0.0 for run in (self._low, self._high))
        if low and high:
            self._rate = (low + high) / 2
            self.done = high <= low * CLOSE_ENOUGH
        else:
            rate = self._rate * self._step if low else self._rate / self._step
            self.done = low >= self._most or (not low and rate < LOWEST_SHARE * self._most)
            self._rate = min(self._most, rate)
            self._step = min(MOST_STEP, self._step**2)
        self.done = self.done or self._served >= MOST_RUNS

    def report(self) -> ServerReport:
        """What all runs say; there must have been one of Server, or of lone requests."""
        return ServerReport(bound_us=self._bound_us, best=self._low, missed=self._high, runs=tuple(self._runs))


def highest_rate(
    generator: LoadGenerator,
    issue: Issue,
    bound_us: float,
    *,
    queries: int = 200,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> ServerReport:
    """The search from nothing to its end, or to the last run that ends within `BUDGET_S`.

    Args:
        generator: what makes the load.
        issue: what runs.
        bound_us: of the 99th percentile.
        queries: of each run at most, a slow plan has fewer; under 100 the 99th percentile is the slowest one.
        seed: of the arrivals.
        clock: in seconds.

    Raises:
        UsageError: a bound that is not positive.
        MeasurementError: an inference failed.
    """
    if not (math.isfinite(bound_us) and bound_us > 0):
        raise UsageError(f"a latency bound must be positive, got {bound_us} µs")
    runs = Runs(seconds=LONG_S, least=min(LEAST_QUERIES, queries), most=queries)
    search = RateSearch(bound_us, runs=runs)
    end = clock() + BUDGET_S
    while not search.done and clock() + search.next_s <= end:
        search.step(partial(generator.drive, issue), seed=seed)
    return search.report()
