"""What a search wants in its scenario: one figure, less of which is better, and how it is predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from autotune.core import Scenario, Timing
from autotune.errors import UsageError
from autotune.simulator import SAMPLES_PER_QUERY, StagedPlan, arrivals, multi_stream, offline, server, single_stream

REQUESTS = 100
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

    def forecast(self, plan: StagedPlan, *, batch: int = 1) -> Timing:
        """What the scenario is predicted to give, by simulation.

        Args:
            plan: with the times of an inference.
            batch: samples of an inference.
        """
        if self.scenario is Scenario.MULTI_STREAM:
            load = multi_stream([plan], queries=REQUESTS // 4, samples=max(1, SAMPLES_PER_QUERY // batch))
        elif self.scenario is Scenario.SERVER:
            best = server([plan], self.bound_us, requests=REQUESTS)
            rate = float(best.rate_per_s[0])
            if not rate:
                alone_us = float(best.p99_us[0])
                return Timing(p50_us=alone_us, p90_us=alone_us, p99_us=alone_us, throughput_per_s=1e6 / alone_us)
            return _timing(arrivals([plan], np.array([rate]), requests=REQUESTS).latency_us[:, 0], rate * batch)
        elif self.scenario is Scenario.OFFLINE:
            load = offline([plan], requests=REQUESTS)
        else:
            load = single_stream([plan], requests=3)
        return _timing(load.latency_us[:, 0], float(load.throughput_per_s[0]) * batch)


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


def _timing(latency_us: np.ndarray[tuple[int], np.dtype[np.float64]], throughput_per_s: float) -> Timing:
    ordered = np.sort(latency_us)
    p50, p90, p99 = (float(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) for share in (0.5, 0.9, 0.99))
    return Timing(p50_us=p50, p90_us=p90, p99_us=p99, throughput_per_s=throughput_per_s)
