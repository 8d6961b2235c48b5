"""MLPerf Inference's scenarios, simulated: latencies and throughput of many plans at once.

After MLPerf Inference (Reddi et al., arXiv 1911.02549). SingleStream: the next request when the last one is done, p90.
MultiStream: eight samples at once, p99. Server: Poisson arrivals, the highest rate whose p99 is within a bound.
Offline: all at once, throughput.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.errors import UsageError
from autotune.simulator.lockstep import Door, Times, simulate_requests
from autotune.simulator.staged import Floats, Packed, StagedPlan, pack

REQUESTS = 100
SAMPLES_PER_QUERY = 8
TARGET_PERCENTILE = {"SingleStream": 0.90, "MultiStream": 0.99, "Server": 0.99}
"""The share of queries that must be as fast as the figure reported."""
_HALVINGS = 12


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class SimulatedLoad:
    """What a scenario gave, for P plans.

    Args:
        latency_us: [Q, P] of each query.
        throughput_per_s: [P] samples per second.
    """

    latency_us: Floats
    throughput_per_s: Floats

    def percentile_us(self, share: float) -> Floats:
        """[P] the latency that a share of the queries does not exceed, as LoadGen counts it."""
        return percentile(self.latency_us, share)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class SimulatedServer:
    """The Server scenario, for P plans.

    Args:
        rate_per_s: [P] highest rate of arrivals within the bound; 0 where none is.
        p99_us: [P] at that rate; where none is within the bound, of requests that find the plan idle.
    """

    rate_per_s: Floats
    p99_us: Floats


def percentile(latency_us: Floats, share: float) -> Floats:
    """[P] of [Q, P]: the value at position floor(share · Q) of the sorted ones."""
    at = min(len(latency_us) - 1, int(share * len(latency_us)))
    found: Floats = np.partition(latency_us, at, axis=0)[at]
    return found


def single_stream(plans: Sequence[StagedPlan] | Packed, *, requests: int = REQUESTS) -> SimulatedLoad:
    """One request at a time."""
    return _closed(_packed(plans), requests, Door(depth=1))


def multi_stream(
    plans: Sequence[StagedPlan] | Packed, *, queries: int = REQUESTS, samples: int = SAMPLES_PER_QUERY
) -> SimulatedLoad:
    """Queries of several samples, the next when the last is done; a query is done with its last sample.

    Args:
        plans: P plans.
        queries: how many.
        samples: of each.
    """
    packed = _packed(plans)
    times = simulate_requests(packed, np.zeros((queries * samples, packed.plans)), Door(group=samples))
    begin = times.admitted_us.reshape(queries, samples, -1)[:, 0]
    end = times.finished_us.reshape(queries, samples, -1).max(axis=1)
    return SimulatedLoad(latency_us=end - begin, throughput_per_s=_throughput(times))


def offline(plans: Sequence[StagedPlan] | Packed, *, requests: int = REQUESTS) -> SimulatedLoad:
    """All requests are there from the beginning; as many are under way as the runtime lets in."""
    packed = _packed(plans)
    times = simulate_requests(packed, np.zeros((requests, packed.plans)), Door())
    return SimulatedLoad(latency_us=times.finished_us, throughput_per_s=_throughput(times))


def arrivals(
    plans: Sequence[StagedPlan] | Packed, rate_per_s: Floats, *, requests: int = REQUESTS, seed: int = 0
) -> SimulatedLoad:
    """Poisson arrivals at a given rate; latencies count from the arrival, waiting outside included.

    Args:
        plans: P plans.
        rate_per_s: [P].
        requests: how many.
        seed: of the arrivals; all plans and rates see the same ones, stretched.

    Raises:
        UsageError: a rate that is not positive.
    """
    packed = _packed(plans)
    if not (np.isfinite(rate_per_s) & (rate_per_s > 0)).all():
        raise UsageError("rates must be positive")
    gaps = np.random.default_rng(seed).exponential(1e6, requests)
    arrival = np.cumsum(gaps)[:, None] / np.broadcast_to(rate_per_s, packed.plans)
    times = simulate_requests(packed, arrival, Door())
    return SimulatedLoad(latency_us=times.finished_us - arrival, throughput_per_s=_throughput(times))


def server(
    plans: Sequence[StagedPlan] | Packed, latency_bound_us: float, *, requests: int = REQUESTS, seed: int = 0
) -> SimulatedServer:
    """The highest rate of Poisson arrivals whose p99 is within a bound, by bisection below the Offline throughput.

    Args:
        plans: P plans.
        latency_bound_us: of the 99th percentile.
        requests: per simulated run; p99 of the default is its slowest request.
        seed: of the arrivals.

    Raises:
        UsageError: a bound that is not positive.
    """
    if not (np.isfinite(latency_bound_us) and latency_bound_us > 0):
        raise UsageError(f"a latency bound must be positive, got {latency_bound_us} µs")
    packed = _packed(plans)
    idle = single_stream(packed, requests=1).latency_us[0]
    low, high = np.zeros(packed.plans), offline(packed, requests=requests).throughput_per_s
    best = idle.copy()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = arrivals(packed, middle, requests=requests, seed=seed).percentile_us(TARGET_PERCENTILE["Server"])
        within = found <= latency_bound_us
        best = np.where(within, found, best)
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return SimulatedServer(rate_per_s=np.where(idle <= latency_bound_us, low, 0.0), p99_us=best)


def _closed(packed: Packed, requests: int, door: Door) -> SimulatedLoad:
    times = simulate_requests(packed, np.zeros((requests, packed.plans)), door)
    return SimulatedLoad(latency_us=times.finished_us - times.admitted_us, throughput_per_s=_throughput(times))


def _throughput(times: Times) -> Floats:
    elapsed = times.finished_us.max(axis=0) - times.admitted_us.min(axis=0)
    found: Floats = len(times.finished_us) / elapsed * 1e6
    return found


def _packed(plans: Sequence[StagedPlan] | Packed) -> Packed:
    return plans if isinstance(plans, Packed) else pack(plans)
