"""Simulated schedules keep the rules, with and without processors that disturb each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.errors import UsageError
from autotune.planning.exact_parts import exact_by_parts
from autotune.planning.exact_schedule import solve
from autotune.planning.heft import heft
from autotune.planning.placement import place
from autotune.simulator import Schedule, TaskGraph, play, simulate


def diamond(transfer_us: float = 1.0) -> TaskGraph:
    """One task, two branches, one join; the second processor is better at the second branch."""
    cost = np.array([[2.0, 3.0], [5.0, 9.0], [9.0, 5.0], [2.0, 3.0]])
    transfer = np.zeros((4, 2, 2))
    transfer[:, 0, 1] = transfer[:, 1, 0] = transfer_us
    return TaskGraph(
        names=("a", "b", "c", "d"),
        processors=("cpu", "gpu"),
        predecessors=((), (0,), (0,), (1, 2)),
        cost_us=cost,
        transfer_us=transfer,
    )


@st.composite
def graphs(draw: st.DrawFn) -> TaskGraph:
    count, processors = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    before = tuple(tuple(b for b in range(task) if rng.random() < 0.35) for task in range(count))
    transfer = rng.uniform(0.0, 4.0, (count, processors, processors))
    transfer[:, np.arange(processors), np.arange(processors)] = 0.0
    return TaskGraph(
        names=tuple(map(str, range(count))),
        processors=tuple(f"p{own}" for own in range(processors)),
        predecessors=before,
        cost_us=rng.uniform(1.0, 10.0, (count, processors)),
        transfer_us=transfer,
    )


def check(graph: TaskGraph, schedule: Schedule) -> None:
    for task, before in enumerate(graph.predecessors):
        own = schedule.processor[task]
        taken = schedule.finish_us[task] - schedule.start_us[task]
        assert taken == pytest.approx(graph.cost_us[task, own])
        for other in before:
            there = schedule.finish_us[other] + graph.transfer_us[other, schedule.processor[other], own]
            assert schedule.start_us[task] >= there - 1e-9
    for own in range(len(graph.processors)):
        spans = sorted(
            (schedule.start_us[task], schedule.finish_us[task])
            for task in range(len(graph.names))
            if schedule.processor[task] == own
        )
        assert all(right[0] >= left[1] - 1e-9 for left, right in itertools.pairwise(spans))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_every_schedule_keeps_the_rules(graph: TaskGraph) -> None:
    order = range(len(graph.names))
    check(graph, simulate(graph, [task % len(graph.processors) for task in order], order))
    check(graph, heft(graph))
    check(graph, place(graph, seconds=0.02).schedule)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_without_slowdowns_both_simulations_agree(graph: TaskGraph) -> None:
    order = range(len(graph.names))
    where = [task % len(graph.processors) for task in order]
    np.testing.assert_allclose(play(graph, where, order, {}).finish_us, simulate(graph, where, order).finish_us)


def test_branches_run_at_the_same_time() -> None:
    found = place(diamond(), seconds=0.2)
    assert found.schedule.makespan_us == pytest.approx(2 + 1 + 5 + 1 + 2)
    assert found.single == (18.0, 20.0)


def test_a_dear_transfer_keeps_everything_on_one_processor() -> None:
    found = place(diamond(transfer_us=50.0), seconds=0.2)
    assert set(found.schedule.processor) == {0}


def test_slowdowns_stretch_what_runs_beside() -> None:
    graph = diamond(transfer_us=0.0)
    alone = simulate(graph, [0, 0, 1, 0], range(4)).makespan_us
    beside = play(graph, [0, 0, 1, 0], range(4), {(0, 1): 2.0, (1, 0): 2.0}).makespan_us
    assert alone == pytest.approx(9.0)
    assert beside == pytest.approx(14.0)


@pytest.mark.parametrize("begun_us", [0.0, 2e7, 1e12])
def test_short_tasks_end_however_late_they_begin(begun_us: float) -> None:
    costs = np.array([[begun_us, begun_us], *([[1.1, 0.7]] * 6)])
    graph = TaskGraph(
        names=tuple("abcdefg"),
        processors=("one", "two"),
        predecessors=((), *([(0,)] * 6)),
        cost_us=costs,
        transfer_us=np.zeros((7, 2, 2)),
    )
    schedule = play(graph, [0, 0, 1, 0, 1, 0, 1], range(7), {(0, 1): 1.3, (1, 0): 1.7})
    both_us = 3 * 0.7 * 1.7
    after_us = both_us + 3 * 1.1 - both_us / 1.3
    assert schedule.makespan_us - begun_us == pytest.approx(after_us, abs=1e-9 + 20 * np.spacing(begun_us))


def test_a_slowdown_is_weighed_by_the_search() -> None:
    found = place(diamond(), corun={(0, 1): 10.0, (1, 0): 10.0}, seconds=0.2)
    assert found.schedule.makespan_us <= 18.0 + 1e-9


@settings(max_examples=12, deadline=None)
@given(graphs())
def test_the_search_reaches_the_proven_optimum(graph: TaskGraph) -> None:
    found = place(graph, seconds=2.0)
    exact = exact_by_parts(graph, known=found.schedule, seconds=20.0)
    assert exact.schedule is not None
    check(graph, exact.schedule)
    if exact.proven:
        assert found.schedule.makespan_us <= exact.schedule.makespan_us * 1.03
        assert exact.bound_us <= found.schedule.makespan_us * (1 + 1e-3)


def test_a_program_that_the_solver_once_called_infeasible() -> None:
    """Found by the test above: with each task's processor as two inequalities, HiGHS's presolve cut everything off."""
    cost = [[8.45439695, 4.39888219, 2.90693263], [1.83239578, 7.50887693, 5.41604086],
            [5.09483524, 2.72930039, 7.92007711], [8.25098, 8.15489469, 6.48719355]]  # fmt: skip
    moved = [[[0, 3.50217511, 3.5860204], [0.88330009, 0, 3.92268267], [3.41811728, 1.78654395, 0]],
             [[0, 2.97669966, 0.94222255], [3.66010943, 0, 2.51856857], [3.23588825, 3.72799762, 0]],
             [[0, 1.92139968, 0.27404967], [2.61482426, 0, 1.97380417], [2.6222055, 3.380778, 0]],
             [[0, 1.53389058, 1.84509522], [2.01856465, 0, 1.0266868], [3.34011432, 0.24061724, 0]]]  # fmt: skip
    graph = TaskGraph(
        names=("0", "1", "2", "3"),
        processors=("p0", "p1", "p2"),
        predecessors=((), (), (1,), (0, 2)),
        cost_us=np.array(cost),
        transfer_us=np.array(moved),
    )
    exact = solve(graph, known=place(graph, seconds=0.15).schedule, seconds=20.0)
    assert exact.schedule is not None
    assert exact.schedule.makespan_us == pytest.approx(13.68847424)


def test_graphs_that_cannot_be_are_refused() -> None:
    one = np.array([[1.0], [1.0]])
    with pytest.raises(UsageError, match="'a' needs a task"):
        TaskGraph(
            names=("a", "b"), processors=("cpu",), predecessors=((1,), ()), cost_us=one, transfer_us=np.zeros((2, 1, 1))
        )
    with pytest.raises(UsageError, match="'b'"):
        TaskGraph(
            names=("a", "b"),
            processors=("cpu",),
            predecessors=((), ()),
            cost_us=np.array([[1.0], [np.inf]]),
            transfer_us=np.zeros((2, 1, 1)),
        )
