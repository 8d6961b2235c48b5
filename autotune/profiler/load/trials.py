"""What a job under load is asked, a run of the load generator at a time, so that jobs can take turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autotune.core import Failure, FailureKind, Measurement, Scenario, Timing
from autotune.errors import UsageError
from autotune.profiler.load.values import SAMPLES_PER_QUERY, Load, LoadReport

Drive = Callable[[Load], LoadReport]
"""Runs a load on the job to its end."""

BLOCKS = 4
BLOCK_S = 0.25
"""Of a block of MultiStream's queries, about."""
BLOCK_QUERIES = (4, 25)
RUN_S = 1.0
"""Of arrivals in one run of Server, about."""
RUN_QUERIES = (60, 300)
CLOSE_ENOUGH = 1.05
"""Between a rate that keeps the bound and one that does not."""
FIRST_STEP = 1.1
MOST_STEP = 2.0
MOST_RUNS = 12
LOWEST_SHARE = 0.1
"""Of what the job can do at all: no rate below it is tried."""
MISSES = 2
ALONE_QUERIES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is asked of a job under load.

    Args:
        scenario: MultiStream or Server.
        query_us: about what a query takes.
        bound_us: of Server's 99th percentile; 0 in MultiStream.
        rate_per_s: of inferences, where Server's highest rate is looked for first; 0 in MultiStream.

    Raises:
        UsageError: a scenario that needs no load generator, or a Server without a bound or a rate.
    """

    scenario: Scenario
    query_us: float
    bound_us: float = 0.0
    rate_per_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.scenario.under_load:
            raise UsageError(f"{self.scenario} needs no load generator")
        if (self.scenario is Scenario.SERVER) != (self.bound_us > 0 and self.rate_per_s > 0):
            raise UsageError(f"Server, and nothing else, has a latency bound and a rate, got {self}")

    @property
    def expected_s(self) -> float:
        """About how long it takes."""
        if self.scenario is Scenario.MULTI_STREAM:
            return BLOCKS * _block_queries(self.query_us) * self.query_us * 1e-6
        return 4.5 * _run_queries(self.rate_per_s) / self.rate_per_s


class Trial(Protocol):
    """One job under load, from the first run to its figure."""

    @property
    def done(self) -> bool:
        """Whether it needs no further run."""

    def step(self, drive: Drive, *, seed: int) -> None:
        """Makes one more run."""

    def result(self, *, load_s: float, peak_bytes: int) -> Measurement | Failure:
        """What all runs say."""


def trial_of(goal: Goal, *, batch: int = 1) -> Trial:
    """The trial that reaches a goal.

    Args:
        goal: what is asked.
        batch: samples of one inference.
    """
    return QueryTrial(goal, batch=batch) if goal.scenario is Scenario.MULTI_STREAM else RateTrial(goal, batch=batch)


class QueryTrial:
    """MultiStream: blocks of queries; the figure of each block is its 99th percentile, that of all their median.

    A neighbour on the machine who takes a second of it spoils a block, not the figure.
    """

    def __init__(self, goal: Goal, *, batch: int = 1) -> None:
        self._load = Load(
            scenario=Scenario.MULTI_STREAM,
            queries=_block_queries(goal.query_us),
            samples_per_query=max(1, SAMPLES_PER_QUERY // batch),
        )
        self._batch = batch
        self._blocks: list[LoadReport] = []

    @property
    def done(self) -> bool:
        """Whether it needs no further run."""
        return len(self._blocks) >= BLOCKS

    def step(self, drive: Drive, *, seed: int) -> None:  # noqa: ARG002 - nothing arrives at random
        """One more block."""
        self._blocks.append(drive(self._load))

    def result(self, *, load_s: float, peak_bytes: int) -> Measurement | Failure:
        """The blocks' 99th percentiles."""
        return Measurement(
            samples_us=tuple(block.p99_us for block in self._blocks),
            load_s=load_s,
            peak_bytes=peak_bytes,
            under_load=middle(
                [
                    Timing(
                        p50_us=block.p50_us,
                        p90_us=block.p90_us,
                        p99_us=block.p99_us,
                        throughput_per_s=block.throughput_per_s * self._batch,
                    )
                    for block in self._blocks
                ]
            ),
        )


class RateTrial:
    """Server: the highest rate within the bound, from where it is expected in growing steps, then by bisection.

    First comes what the job can do at all, as in Offline: a short run at a higher rate may end before its backlog has
    grown to the bound, but no such rate lasts. All runs of one launch see the same arrivals, stretched, and so does
    every job of the launch: latency then grows with the rate, not with the luck of the draw. Between the two last rates
    the figure is interpolated.
    """

    def __init__(self, goal: Goal, *, batch: int = 1) -> None:
        self._goal, self._batch = goal, batch
        self._rate, self._step = goal.rate_per_s, FIRST_STEP
        self._most = 0.0
        self._low: LoadReport | None = None
        self._high: LoadReport | None = None
        self._alone: LoadReport | None = None
        self._runs: list[LoadReport] = []
        self.done = False

    def step(self, drive: Drive, *, seed: int) -> None:
        """One more run; after two that missed the bound, one without any waiting, which tells whether more can help."""
        if not self._most:
            load = Load(scenario=Scenario.OFFLINE, queries=_run_queries(self._rate) // 2)
            self._most = drive(load).throughput_per_s
            self._rate = min(self._rate, self._most)
            return
        if len(self._runs) == MISSES and self._low is None:
            self._alone = drive(Load(scenario=Scenario.SINGLE_STREAM, queries=ALONE_QUERIES))
            if self._alone.p90_us > self._goal.bound_us:
                self.done = True
                return
        queries = _run_queries(self._rate)
        run = drive(Load(scenario=Scenario.SERVER, queries=queries, rate_per_s=self._rate, seed=seed))
        self._runs.append(run)
        if run.p99_us <= self._goal.bound_us:
            self._low = run
        else:
            self._high = run
        self._next()

    def _next(self) -> None:
        low, high = (run.load.rate_per_s if run else 0.0 for run in (self._low, self._high))
        if low and high:
            self._rate = (low + high) / 2
            self.done = high <= low * CLOSE_ENOUGH
        else:
            rate = self._rate * self._step if low else self._rate / self._step
            self.done = low >= self._most or (not low and rate < LOWEST_SHARE * self._most)
            self._rate = min(self._most, rate)
            self._step = min(MOST_STEP, self._step**2)
        self.done = self.done or len(self._runs) >= MOST_RUNS

    def result(self, *, load_s: float, peak_bytes: int) -> Measurement | Failure:
        """The time between arrivals at the highest rate, or that nothing keeps the bound."""
        low, high, bound_us = self._low, self._high, self._goal.bound_us
        if low is None:
            closest_us = min(run.p99_us for run in (*self._runs, *([self._alone] if self._alone else [])))
            text = f"99 % of requests take up to {closest_us / 1e3:.3g} ms at best, the bound is {bound_us / 1e3:g} ms"
            return Failure(kind=FailureKind.BOUND, message=text, closest_us=closest_us)
        rate = low.load.rate_per_s
        if high is not None:
            rate += (high.load.rate_per_s - rate) * (bound_us - low.p99_us) / (high.p99_us - low.p99_us)
        rate *= self._batch
        return Measurement(
            samples_us=(1e6 / rate,),
            load_s=load_s,
            peak_bytes=peak_bytes,
            under_load=Timing(p50_us=low.p50_us, p90_us=low.p90_us, p99_us=low.p99_us, throughput_per_s=rate),
        )


def middle(timings: Sequence[Timing]) -> Timing:
    """The median of each figure, load time and memory left out."""
    return Timing(
        p50_us=statistics.median(timing.p50_us for timing in timings),
        p90_us=statistics.median(timing.p90_us for timing in timings),
        p99_us=statistics.median(timing.p99_us for timing in timings),
        throughput_per_s=statistics.median(timing.throughput_per_s for timing in timings),
    )


def _block_queries(query_us: float) -> int:
    least, most = BLOCK_QUERIES
    return min(most, max(least, round(BLOCK_S * 1e6 / query_us)))


def _run_queries(rate_per_s: float) -> int:
    least, most = RUN_QUERIES
    return min(most, max(least, round(RUN_S * rate_per_s)))
