"""What a search wants in its scenario: one figure, less of which is better, and how it is predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotune.core import Scenario, Timing
from autotune.errors import UsageError
from autotune.simulator import (
    SAMPLES_PER_QUERY,
    Packed,
    StagedPlan,
    arrivals,
    multi_stream,
    offline,
    pack,
    server,
    single_stream,
)

REQUESTS = 100
QUERIES = 25
BEHIND = 1e3
"""Factor on the lowest latency of what misses the bound: whatever keeps it goes first, then the nearest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A scenario and its bound.

    Args:
        scenario: how requests arrive.
        bound_us: of Server's 99th percentile; 0 elsewhere.

    Raises:
        UsageError: Server without a bound, or a bound elsewhere.
    """

    scenario: Scenario
    bound_us: float = 0.0

    def __post_init__(self) -> None:
        given = math.isfinite(self.bound_us) and self.bound_us > 0
        if (self.scenario is Scenario.SERVER) != given:
            raise UsageError(f"Server, and no other scenario, has a latency bound above 0, got {self}")

    def figure_us(self, timing: Timing) -> float:
        """What is minimised: a query's 99th percentile, the time between arrivals, per sample, or of a request."""
        match self.scenario:
            case Scenario.MULTI_STREAM:
                return timing.p99_us
            case Scenario.SERVER:
                return (
                    1e6 / timing.throughput_per_s if timing.p99_us <= self.bound_us else self.missed_us(timing.p99_us)
                )
            case Scenario.OFFLINE:
                return 1e6 / timing.throughput_per_s
            case Scenario.SINGLE_STREAM:
                return timing.p50_us

    def missed_us(self, closest_us: float) -> float:
        """The figure of what misses the bound, by the lowest latency that it reaches."""
        return BEHIND * closest_us

    def forecast(self, plans: Sequence[StagedPlan], *, batch: int = 1) -> list[Timing]:
        """What the scenario is predicted to give each plan, by simulation; many cost hardly more than one.

        Args:
            plans: with the times of an inference.
            batch: samples of an inference.
        """
        packed = pack(plans)
        if self.scenario is Scenario.SERVER:
            return self._served(packed, batch)
        if self.scenario is Scenario.MULTI_STREAM:
            load = multi_stream(packed, queries=QUERIES, samples=max(1, SAMPLES_PER_QUERY // batch))
        elif self.scenario is Scenario.OFFLINE:
            load = offline(packed, requests=REQUESTS)
        else:
            load = single_stream(packed, requests=3)
        return [_timing(load.latency_us[:, at], load.throughput_per_s[at] * batch) for at in range(packed.plans)]

    def _served(self, packed: Packed, batch: int) -> list[Timing]:
        """At the highest rate within the bound; of one request after the other where there is none."""
        best = server(packed, self.bound_us, requests=REQUESTS)
        kept = best.rate_per_s > 0
        rates = np.where(kept, best.rate_per_s, 1e6 / best.p99_us)
        latency_us = arrivals(packed, rates, requests=REQUESTS).latency_us
        found = []
        for at, alone_us in enumerate(best.p99_us):
            own = latency_us[:, at] if kept[at] else np.array([alone_us])
            found.append(_timing(own, rates[at] * batch))
        return found


def callers_plan(pace_us: float, *, callers: int, batch: int = 1, alone_us: float | None = None) -> StagedPlan:
    """So many callers of one session, as a simulation takes them.

    Args:
        pace_us: per sample, all callers busy.
        callers: how many.
        batch: samples of an inference.
        alone_us: of an inference while the others rest; None: as long as with them.
    """
    busy_us = pace_us * callers * batch
    own_us = min(busy_us, alone_us) if alone_us is not None and callers > 1 else busy_us
    slower = (busy_us / own_us) ** (1 / (callers - 1)) if callers > 1 else 1.0
    corun = {(0, 0): slower} if slower > 1 else None
    return StagedPlan(stage_us=(own_us,), lane=(0,), streams=(callers,), corun=corun)


def at_pace(plan: StagedPlan, factor: float) -> StagedPlan:
    """The same plan, every stage so many times longer."""
    return replace(plan, stage_us=tuple(time * factor for time in plan.stage_us))


def _timing(latency_us: NDArray[np.float64], throughput_per_s: float) -> Timing:
    ordered = np.sort(latency_us)
    p50, p90, p99 = (float(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) for share in (0.5, 0.9, 0.99))
    return Timing(p50_us=p50, p90_us=p90, p99_us=p99, throughput_per_s=float(throughput_per_s))
