"""The exact optimum part by part: a task that everything passes through separates what comes before from the rest.

Where every other task is an ancestor or a descendant of a task and no edge leads past it, what was decided before it
matters afterwards only by the processor that it ran on. So the parts between such tasks are solved alone, for each
processor at both ends (by label setting, a large one as a mixed-integer program), and dynamic programming over the
processors joins them. An Inception graph has a score of such tasks, its joins.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.planning.exact_schedule import ExactSchedule, solve
from autotune.planning.heft import heft
from autotune.planning.label_schedule import label_schedules
from autotune.simulator import Schedule, TaskGraph, simulate

LARGEST_LABELLED = 24
"""Tasks up to which a part is tried by label setting."""
GAP = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What lies behind one bottleneck up to the next one.

    Args:
        members: the tasks, in order; the bottleneck at the end is the last.
        source: the bottleneck that it begins after; None at the beginning.
        target: the bottleneck at its end; None behind the last one.
    """

    members: tuple[int, ...]
    source: int | None
    target: int | None


def bottlenecks(graph: TaskGraph) -> tuple[int, ...]:
    """Tasks that everything passes through, in order."""
    above = graph.ancestors
    comparable = np.flatnonzero((above | above.T).sum(axis=1) == len(graph.names) - 1)
    return tuple(int(task) for task in comparable if not _passed_by(graph, int(task)))


def _passed_by(graph: TaskGraph, task: int) -> bool:
    before = graph.ancestors[task]
    return any(
        before[at]
        for other, needed in enumerate(graph.predecessors)
        if other != task and not before[other]
        for at in needed
    )


def parts_of(graph: TaskGraph) -> list[Part]:
    """The parts, in order; one where there are no bottlenecks."""
    above = graph.ancestors
    found: list[Part] = []
    source: int | None = None
    for target in (*bottlenecks(graph), None):
        inside = np.ones(len(graph.names), dtype=bool) if target is None else above[target].copy()
        if source is not None:
            inside &= above[:, source]
        members = [*np.flatnonzero(inside).tolist(), *(() if target is None else (target,))]
        if members:
            found.append(Part(members=tuple(members), source=source, target=target))
        source = target
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reached:
    """The best way to a bottleneck on one processor: its end, a bound for it, and (task, processor) in order."""

    us: float
    bound_us: float
    path: tuple[tuple[int, int], ...]


def exact_by_parts(graph: TaskGraph, *, known: Schedule, seconds: float = 60.0, prove: bool = True) -> ExactSchedule:
    """The optimum of the whole from those of its parts.

    Args:
        graph: the tasks.
        known: a schedule, for a graph that is one part: nothing later than it is looked at.
        seconds: for all parts.
        prove: whether the solver is asked about parts that are too large for label setting; else those take HEFT's.
    """
    parts = parts_of(graph)
    left, until = sum(1 if part.source is None else len(graph.processors) for part in parts), time.monotonic() + seconds
    reached: dict[int | None, _Reached] = {None: _Reached(us=0.0, bound_us=0.0, path=())}
    for part in parts:
        following: dict[int | None, _Reached] = {}
        for begin, before in reached.items():
            share_s = max(0.05, (until - time.monotonic()) / left)
            left = max(1, left - 1)
            ways = _ways(graph, part, begin, known if len(parts) == 1 else None, share_s, prove=prove)
            for end, own in ways.items():
                old = following.get(end)
                us, bound_us = before.us + own.us, before.bound_us + own.bound_us
                path = (*before.path, *own.path)
                if old is not None:
                    bound_us = min(bound_us, old.bound_us)
                    us, path = min((us, path), (old.us, old.path))
                following[end] = _Reached(us=us, bound_us=bound_us, path=path)
        reached = following
    best = min(reached.values(), key=lambda found: found.us)
    bound_us = min(found.bound_us for found in reached.values())
    where = dict(best.path)
    schedule = simulate(graph, [where[task] for task in range(len(graph.names))], [task for task, _ in best.path])
    return ExactSchedule(schedule=schedule, bound_us=bound_us, proven=best.us <= bound_us * (1 + 2 * GAP))


def _ways(
    graph: TaskGraph, part: Part, begin: int | None, known: Schedule | None, seconds: float, *, prove: bool
) -> dict[int | None, _Reached]:
    """The part's optimum by the processor that its last bottleneck runs on, all after `begin`."""
    finite = () if part.target is None else np.flatnonzero(np.isfinite(graph.cost_us[part.target])).tolist()
    ends: list[int | None] = [*finite] or [None]
    firsts = {end: known or heft(_subgraph(graph, part, begin, end)) for end in ends}
    tasks = _tasks(part)
    if len(tasks) <= LARGEST_LABELLED:
        limit_us = max(first.makespan_us for first in firsts.values())
        until = time.monotonic() + seconds
        labelled = label_schedules(_subgraph(graph, part, begin, None), limit_us=limit_us, until=until)
        if labelled is not None:
            found = {end: _Reached(us=w.us, bound_us=w.us, path=_named(w.path, part)) for end, w in labelled.items()}
            if part.target is None:
                return {None: min(found.values(), key=lambda way: way.us)}
            return {end: found[end] for end in ends if end in found}
    ways: dict[int | None, _Reached] = {}
    for end, first in firsts.items():
        schedule, bound_us = first, 0.0
        if prove:
            exact = solve(_subgraph(graph, part, begin, end), known=first, seconds=seconds / len(ends))
            schedule = min((s for s in (exact.schedule, first) if s is not None), key=lambda s: s.makespan_us)
            bound_us = min(exact.bound_us, schedule.makespan_us)
        path = _named([(at, schedule.processor[at]) for at in schedule.order], part)
        ways[end] = _Reached(us=schedule.makespan_us, bound_us=bound_us, path=path)
    return ways


def _tasks(part: Part) -> tuple[int, ...]:
    return part.members if part.source is None else (part.source, *part.members)


def _named(path: Sequence[tuple[int, int]], part: Part) -> tuple[tuple[int, int], ...]:
    """A path in the whole graph's tasks, without the bottleneck before the part."""
    tasks = _tasks(part)
    return tuple((tasks[at], own) for at, own in path if tasks[at] != part.source)


def _subgraph(graph: TaskGraph, part: Part, begin: int | None, end: int | None) -> TaskGraph:
    """The part behind its source, which has ended already on `begin`, with its target on `end`."""
    tasks = _tasks(part)
    at = {task: position for position, task in enumerate(tasks)}
    cost = graph.cost_us[list(tasks)].copy()
    if begin is not None:
        cost[0] = np.inf
        cost[0, begin] = 0.0
    if end is not None:
        cost[-1, [own for own in range(len(graph.processors)) if own != end]] = np.inf
    return TaskGraph(
        names=tuple(graph.names[task] for task in tasks),
        processors=graph.processors,
        predecessors=tuple(
            () if task == part.source else tuple(at[b] for b in graph.predecessors[task] if b in at) for task in tasks
        ),
        cost_us=cost,
        transfer_us=graph.transfer_us[list(tasks)],
    )
