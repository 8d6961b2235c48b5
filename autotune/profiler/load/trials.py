"""What a job under load is asked, a run of the load generator at a time, so that jobs can take turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from autotune.core import Failure, FailureKind, Measurement, Scenario, Timing
from autotune.errors import UsageError
from autotune.profiler.load.server import RUNS, RateSearch
from autotune.profiler.load.values import SAMPLES_PER_QUERY, Drive, Load, LoadReport

BLOCKS = 4
BLOCK_S = 0.25
"""Of a block of MultiStream's queries, about."""
BLOCK_QUERIES = (4, 25)


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
        return 4.5 * RUNS.queries(self.rate_per_s) / self.rate_per_s


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
    """Server: the time between arrivals at the highest rate within the bound, as `RateSearch` finds it."""

    def __init__(self, goal: Goal, *, batch: int = 1) -> None:
        self._bound_us, self._batch = goal.bound_us, batch
        self._search = RateSearch(goal.bound_us, rate_per_s=goal.rate_per_s)

    @property
    def done(self) -> bool:
        """Whether it needs no further run."""
        return self._search.done

    def step(self, drive: Drive, *, seed: int) -> None:
        """One more run; every job of a launch sees the same arrivals."""
        self._search.step(drive, seed=seed)

    def result(self, *, load_s: float, peak_bytes: int) -> Measurement | Failure:
        """The time between arrivals, or that nothing keeps the bound."""
        found = self._search.report()
        best = found.best
        if best is None:
            closest_us = found.closest.p99_us
            text = f"99 % of requests take up to {closest_us / 1e3:.3g} ms at best, "
            text += f"the bound is {self._bound_us / 1e3:g} ms"
            return Failure(kind=FailureKind.BOUND, message=text, closest_us=closest_us)
        rate = found.rate_per_s * self._batch
        return Measurement(
            samples_us=(1e6 / rate,),
            load_s=load_s,
            peak_bytes=peak_bytes,
            under_load=Timing(p50_us=best.p50_us, p90_us=best.p90_us, p99_us=best.p99_us, throughput_per_s=rate),
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
