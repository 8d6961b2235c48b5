"""What load is, and what a generator of it offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from autotune.core import Scenario
from autotune.errors import UsageError

SAMPLES_PER_QUERY = 8
"""Of MultiStream, in MLPerf Inference."""

Issue = Callable[[int], "Future[Any]"]
"""Starts the inference of the sample with that number, and may wait until there is room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How requests arrive.

    Args:
        scenario: one of MLPerf Inference's.
        queries: how many; in Offline, the samples of its single query.
        samples_per_query: of MultiStream; 1 elsewhere.
        rate_per_s: mean rate of Server's Poisson arrivals; 0 elsewhere.
        seed: of the arrivals.

    Raises:
        UsageError: no query, or no rate for Server.
    """

    scenario: Scenario
    queries: int = 100
    samples_per_query: int = SAMPLES_PER_QUERY
    rate_per_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.queries < 1 or self.samples_per_query < 1:
            raise UsageError(f"load needs at least one query of one sample, got {self}")
        if (self.scenario is Scenario.SERVER) != (self.rate_per_s > 0):
            raise UsageError(f"only Server needs a rate, above 0; got {self.rate_per_s} for {self.scenario}")

    @property
    def samples(self) -> int:
        """Inferences in all."""
        return self.queries * (self.samples_per_query if self.scenario is Scenario.MULTI_STREAM else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a load gave. A query's latency ends with its last sample; in Server it begins when it was due.

    Args:
        load: what was asked for.
        generator: who made it.
        p50_us: median latency of the queries; in Offline of the samples, from the beginning of the run.
        p90_us: 90th percentile.
        p99_us: 99th percentile.
        throughput_per_s: samples per second.
    """

    load: Load
    generator: str
    p50_us: float
    p90_us: float
    p99_us: float
    throughput_per_s: float


Drive = Callable[[Load], LoadReport]
"""Runs a load on what is measured, to its end."""


class LoadGenerator(Protocol):
    """Makes load."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def drive(self, issue: Issue, load: Load) -> LoadReport:
        """Runs a load to its end.

        Raises:
            MeasurementError: an inference failed; those under way have ended.
        """


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value at position floor(share · n), as LoadGen counts it."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def report(load: Load, generator: str, latency_us: Sequence[float], seconds: float) -> LoadReport:
    """The report of latencies by query (Offline: by sample) and the time that all took."""
    ascending = sorted(latency_us)
    return LoadReport(
        load=load,
        generator=generator,
        p50_us=percentile(ascending, 0.5),
        p90_us=percentile(ascending, 0.9),
        p99_us=percentile(ascending, 0.99),
        throughput_per_s=load.samples / seconds,
    )
