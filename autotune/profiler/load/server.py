"""The highest rate of arrivals that keeps a latency bound, measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from autotune.core import Scenario
from autotune.errors import UsageError
from autotune.profiler.load.values import Issue, Load, LoadGenerator, LoadReport

CLOSE_ENOUGH = 1.05
LOWEST_SHARE = 1 / 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """The Server scenario under a latency bound.

    Args:
        bound_us: of the 99th percentile.
        best: the run at the highest rate that kept it; None where none did.
        closest: the run whose 99th percentile was lowest, for when none kept it.
        runs: all that were made, in their order.
    """

    bound_us: float
    best: LoadReport | None
    closest: LoadReport
    runs: tuple[LoadReport, ...]

    @property
    def rate_per_s(self) -> float:
        """Highest rate within the bound; 0 where there is none."""
        return self.best.load.rate_per_s if self.best else 0.0


def highest_rate(
    generator: LoadGenerator, issue: Issue, bound_us: float, *, queries: int = 200, seed: int = 0
) -> ServerReport:
    """Bisects the rate between a little and the Offline throughput, until both ends are within 5 %.

    Args:
        generator: what makes the load.
        issue: what runs.
        bound_us: of the 99th percentile.
        queries: of each run; at least 100, else the 99th percentile is the slowest one.
        seed: of the arrivals, other ones in each run.

    Raises:
        UsageError: a bound that is not positive.
        MeasurementError: an inference failed.
    """
    if not (math.isfinite(bound_us) and bound_us > 0):
        raise UsageError(f"a latency bound must be positive, got {bound_us} µs")
    high = generator.drive(issue, Load(scenario=Scenario.OFFLINE, queries=queries)).throughput_per_s
    load = Load(scenario=Scenario.SERVER, queries=queries, rate_per_s=high * LOWEST_SHARE, seed=seed)
    low, best = 0.0, None
    runs: list[LoadReport] = []
    rate = high / 2
    while True:
        run = generator.drive(issue, replace(load, rate_per_s=rate, seed=seed + len(runs)))
        runs.append(run)
        if run.p99_us <= bound_us:
            low, best = rate, run
        else:
            high = rate
        rate = (low + high) / 2
        if (low and high <= low * CLOSE_ENOUGH) or rate < load.rate_per_s:
            break
    closest = min(runs, key=lambda run: run.p99_us)
    return ServerReport(bound_us=bound_us, best=best, closest=closest, runs=tuple(runs))
