"""Simulated requests: equal to a plain event loop, to queueing theory, and to what each scenario means."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.errors import UsageError
from autotune.simulator import (
    Door,
    StagedPlan,
    arrivals,
    multi_stream,
    offline,
    pack,
    server,
    simulate_requests,
    single_stream,
)


def plain(plan: StagedPlan, arrival_us: list[float], depth: int) -> list[float]:
    """The same rules as the vectorised simulation, one event at a time."""
    workers = [lane for lane, copies in enumerate(plan.copies) for _ in range(copies)]
    queues: list[deque[tuple[int, int]]] = [deque() for _ in plan.copies]
    running: dict[int, tuple[tuple[int, int], float]] = {}
    ended: list[set[int]] = [set() for _ in arrival_us]
    finish = [math.inf] * len(arrival_us)
    now, entered, inside = 0.0, 0, 0
    while math.inf in finish:
        for worker, lane in enumerate(workers):
            if worker not in running and queues[lane]:
                task = queues[lane].popleft()
                running[worker] = (task, plan.stage_us[task[1]])
        slow = {
            own: math.prod((plan.corun or {}).get((workers[own], workers[v]), 1.0) for v in running if v != own)
            for own in running
        }
        ends = {worker: left * slow[worker] for worker, (_, left) in running.items()}
        at_door = entered < len(arrival_us) and inside < depth
        door = max(0.0, arrival_us[entered] - now) if at_door else math.inf
        passed = min([*ends.values(), door])
        first = next((worker for worker in sorted(ends) if ends[worker] == passed), None)
        now += passed
        running = {worker: (task, left - passed / slow[worker]) for worker, (task, left) in running.items()}
        if first is None:
            for stage, before in enumerate(plan.before):
                if not before:
                    queues[plan.lane[stage]].append((entered, stage))
            entered, inside = entered + 1, inside + 1
            continue
        (request, stage), _ = running.pop(first)
        ended[request].add(stage)
        for after, before in enumerate(plan.before):
            if stage in before and ended[request].issuperset(before):
                queues[plan.lane[after]].append((request, after))
        if len(ended[request]) == len(plan.stage_us):
            finish[request], inside = now, inside - 1
    return finish


@st.composite
def staged(draw: st.DrawFn) -> StagedPlan:
    count, lanes = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    branches = draw(st.booleans())
    needs = tuple(tuple(b for b in range(stage) if rng.random() < 0.5) for stage in range(count)) if branches else None
    pairs = {(a, b): float(rng.uniform(1, 2)) for a in range(lanes) for b in range(lanes)}
    return StagedPlan(
        stage_us=tuple(rng.uniform(1, 9, count).tolist()),
        lane=tuple(rng.integers(0, lanes, count).tolist()),
        needs=needs,
        streams=tuple(rng.integers(1, 3, lanes).tolist()),
        corun=pairs if draw(st.booleans()) else None,
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(staged(), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 99))
def test_many_plans_at_once_are_simulated_as_each_alone(plans: list[StagedPlan], depth: int, seed: int) -> None:
    arrival = np.cumsum(np.random.default_rng(seed).exponential(6.0, (12, len(plans))), axis=0)
    found = simulate_requests(pack(plans), arrival, Door(depth=depth))
    for at, plan in enumerate(plans):
        np.testing.assert_allclose(found.finished_us[:, at], plain(plan, arrival[:, at].tolist(), depth), rtol=1e-9)
    assert (found.admitted_us >= arrival * (1 - 1e-9)).all()


CHAIN = StagedPlan(stage_us=(30.0, 50.0, 20.0), lane=(0, 1, 0))


def test_a_single_stream_pays_every_stage_and_a_pipeline_its_busiest_lane() -> None:
    alone = single_stream([CHAIN], requests=10)
    np.testing.assert_allclose(alone.latency_us, 100)
    np.testing.assert_allclose(alone.throughput_per_s, 1e4)
    full = offline([CHAIN], requests=400)
    np.testing.assert_allclose(full.throughput_per_s, 1e6 / 50, rtol=0.01)
    assert (np.diff(full.latency_us, axis=0) > 0).all()


def test_lanes_that_slow_each_other_down_gain_less() -> None:
    slowed = StagedPlan(stage_us=(50.0, 50.0), lane=(0, 1), corun={(0, 1): 1.5, (1, 0): 1.5})
    free = StagedPlan(stage_us=(50.0, 50.0), lane=(0, 1))
    found = offline([slowed, free], requests=400).throughput_per_s
    np.testing.assert_allclose(found, [1e6 / 75, 1e6 / 50], rtol=0.01)
    np.testing.assert_allclose(single_stream([slowed]).latency_us, 100)  # one request never meets itself


def test_streams_are_further_workers_of_a_lane() -> None:
    one, two = (StagedPlan(stage_us=(40.0,), lane=(0,), streams=(copies,)) for copies in (1, 2))
    shared = StagedPlan(stage_us=(40.0,), lane=(0,), streams=(2,), corun={(0, 0): 1.6})
    found = offline([one, two, shared], requests=400).throughput_per_s
    np.testing.assert_allclose(found, [1e6 / 40, 2e6 / 40, 2e6 / 64], rtol=0.01)


def test_a_multi_stream_query_ends_with_its_last_sample() -> None:
    found = multi_stream([CHAIN, StagedPlan(stage_us=(10.0,), lane=(0,))], queries=5, samples=8)
    np.testing.assert_allclose(found.latency_us[:, 1], 80)
    assert (found.latency_us[:, 0] >= 8 * 50).all()
    assert (found.latency_us[:, 0] < 8 * 100).all()
    np.testing.assert_allclose(found.percentile_us(0.99), found.latency_us.max(axis=0))


def test_waiting_times_are_those_of_queueing_theory() -> None:
    """M/D/1: the mean wait is ρ·s / (2·(1 − ρ)) (Pollaczek and Khinchine)."""
    plan, load = StagedPlan(stage_us=(100.0,), lane=(0,)), 0.6
    found = arrivals([plan], np.array([load * 1e4]), requests=20_000)
    wanted = 100 + load * 100 / (2 * (1 - load))
    assert float(found.latency_us.mean()) == pytest.approx(wanted, rel=0.05)


def test_a_server_keeps_its_bound_and_a_looser_bound_allows_more() -> None:
    quick = StagedPlan(stage_us=(30.0, 30.0), lane=(0, 1))
    slow = StagedPlan(stage_us=(300.0,), lane=(0,))
    tight, loose = (server([quick, slow], bound, requests=400) for bound in (150.0, 500.0))
    assert tight.rate_per_s[1] == 0
    assert tight.p99_us[1] == pytest.approx(300)
    assert (loose.p99_us <= 500).all()
    assert 0 < tight.rate_per_s[0] < loose.rate_per_s[0] < 1e6 / 30
    assert 0 < loose.rate_per_s[1] < 1e6 / 300


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="positive"):
        StagedPlan(stage_us=(0.0,), lane=(0,))
    with pytest.raises(UsageError, match="one lane"):
        StagedPlan(stage_us=(1.0,), lane=(0, 1))
    with pytest.raises(UsageError, match="do not fit streams"):
        StagedPlan(stage_us=(1.0,), lane=(1,), streams=(1,))
    with pytest.raises(UsageError, match="earlier ones only"):
        StagedPlan(stage_us=(1.0, 1.0), lane=(0, 0), needs=((1,), ()))
    with pytest.raises(UsageError, match="at least 1"):
        StagedPlan(stage_us=(1.0,), lane=(0,), corun={(0, 0): 0.5})
    with pytest.raises(UsageError, match="no plan"):
        offline([])
    with pytest.raises(UsageError, match="latency bound"):
        server([CHAIN], 0.0)
    with pytest.raises(UsageError, match="rates"):
        arrivals([CHAIN], np.array([-1.0]))
    with pytest.raises(UsageError, match="depth"):
        Door(depth=0)
