"""The exact optimum by parts: what parts a graph, and that nothing better is missed."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autotune.planning.exact_parts import bottlenecks, exact_by_parts
from autotune.planning.exact_schedule import solve
from autotune.planning.heft import heft
from autotune.planning.label_schedule import label_schedules
from autotune.planning.placement import place
from autotune.simulator import TaskGraph, simulate
from tests.simulator.test_schedule import check, diamond


def modules(count: int, seed: int) -> TaskGraph:
    """Modules one after the other, each of three branches between a task and a join."""
    rng = np.random.default_rng(seed)
    before: list[tuple[int, ...]] = [()]
    for _ in range(count):
        start = len(before) - 1
        before += [(start,), (start,), (start,), (start + 3,), (start + 1, start + 2, start + 4)]
    tasks = len(before)
    transfer = rng.uniform(0.0, 3.0, (tasks, 2, 2))
    transfer[:, np.arange(2), np.arange(2)] = 0.0
    return TaskGraph(
        names=tuple(map(str, range(tasks))),
        processors=("cpu", "gpu"),
        predecessors=tuple(before),
        cost_us=rng.uniform(1.0, 9.0, (tasks, 2)),
        transfer_us=transfer,
    )


def test_what_everything_passes_through_parts_a_graph() -> None:
    assert bottlenecks(diamond()) == (0, 3)
    assert bottlenecks(modules(3, seed=0)) == (0, 5, 10, 15)
    skipped = replace(diamond(), predecessors=((), (0,), (1,), (0, 2)))  # an edge leads past both tasks between
    assert bottlenecks(skipped) == (0, 3)


@pytest.mark.parametrize("seed", range(3))
def test_parts_have_the_optimum_of_the_whole(seed: int) -> None:
    graph = modules(2, seed)
    known = heft(graph)
    parts, whole = exact_by_parts(graph, known=known), solve(graph, known=known)
    assert parts.proven
    assert whole.proven
    assert parts.schedule is not None
    assert whole.schedule is not None
    check(graph, parts.schedule)
    assert parts.schedule.makespan_us == pytest.approx(whole.schedule.makespan_us, rel=1e-3)
    assert parts.bound_us <= parts.schedule.makespan_us


@given(seed=st.integers(0, 10**6), count=st.integers(1, 5))
@example(seed=129, count=5)  # the last task is not the last in time
@settings(max_examples=25, deadline=None)
def test_labels_miss_no_order_and_no_processor(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    transfer = rng.uniform(0.0, 4.0, (count, 2, 2))
    transfer[:, (0, 1), (0, 1)] = 0.0
    cost = rng.uniform(1.0, 9.0, (count, 2))
    cost[rng.random(count) < 0.2, 1] = np.inf
    graph = TaskGraph(
        names=tuple(map(str, range(count))),
        processors=("cpu", "gpu"),
        predecessors=tuple(tuple(b for b in range(task) if rng.random() < 0.4) for task in range(count)),
        cost_us=cost,
        transfer_us=transfer,
    )
    orders = [
        order
        for order in itertools.permutations(range(count))
        if all(order.index(b) < order.index(task) for task in range(count) for b in graph.predecessors[task])
    ]
    wanted = [math.inf, math.inf]  # by the last task's processor
    for processor in itertools.product((0, 1), repeat=count):
        if np.isfinite([cost[task, own] for task, own in enumerate(processor)]).all():
            best = min(simulate(graph, processor, order).makespan_us for order in orders)
            wanted[processor[-1]] = min(wanted[processor[-1]], best)
    ways = label_schedules(graph, limit_us=1e9, until=time.monotonic() + 60)
    assert ways is not None
    for own, us in enumerate(wanted):
        assert (ways[own].us if own in ways else math.inf) == pytest.approx(us)
    for way in ways.values():
        where = dict(way.path)
        path = [task for task, _ in way.path]
        assert simulate(graph, [where[task] for task in range(count)], path).makespan_us == pytest.approx(way.us)


def test_labels_give_up_in_time() -> None:
    graph = modules(2, seed=1)
    assert label_schedules(graph, limit_us=1e9, until=time.monotonic() - 1) is None


def test_a_graph_of_modules_is_placed_at_its_optimum() -> None:
    graph = modules(6, seed=4)
    found = place(graph, seconds=20.0)
    exact = exact_by_parts(graph, known=heft(graph))
    assert exact.proven
    assert found.schedule.makespan_us == pytest.approx(exact.bound_us)
    assert found.schedule.makespan_us <= found.heft_us
