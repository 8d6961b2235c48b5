"""The exact optimum of a small placement by label setting: fast where few tasks are under way at a time.

A label is a partial schedule of a set of tasks that holds all they need: when each processor is free, and when each
output that is still needed is there on each processor. Of two labels of one set, with the last task on the same
processor if it is among them, the one that is nowhere earlier is dropped (dynamic programming over sets, as Held and
Karp, with Pareto fronts as label-setting shortest paths have them). Any schedule comes of appending its tasks in the
order in which they begin, so that none is missed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autotune.simulator import TaskGraph

MOST_LABELS = 60_000
SLACK = 1 + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The earliest end of all tasks with the last one on a certain processor.

    Args:
        us: when it is.
        path: (task, processor), in the order in which they are taken.
    """

    us: float
    path: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Label:
    times: tuple[float, ...]
    task: int
    processor: int
    before: _Label | None


def label_schedules(graph: TaskGraph, *, limit_us: float, until: float) -> dict[int, Way] | None:
    """The optimum for each processor that the last task can run on.

    Args:
        graph: the tasks; the last one may end last of all or not.
        limit_us: ends later than this are not of interest.
        until: monotonic time at which to give up.

    Returns:
        Ways by processor of the last task, those within the limit; None where it took too long or too many labels.
    """
    sets = _Sets(graph)
    last = len(graph.names) - 1
    layer: dict[tuple[int, int], list[_Label]] = {(0, -1): [_Label((0.0,) * len(graph.processors), -1, -1, None)]}
    for step in range(len(graph.names)):
        following: dict[tuple[int, int], list[_Label]] = {}
        for (mask, end), labels in layer.items():
            for label in labels:
                for reached, new in sets.grown(mask, label, limit_us * SLACK):
                    following.setdefault((reached, new.processor if new.task == last else end), []).append(new)
        final = step == last
        layer = following if final else {key: _front(labels) for key, labels in following.items()}
        if not final and (sum(map(len, layer.values())) > MOST_LABELS or time.monotonic() > until):
            return None
    best: dict[int, Way] = {}
    for (_, end), labels in layer.items():
        for label in labels:
            us = max(label.times[: len(graph.processors)])
            if end not in best or us < best[end].us:
                best[end] = Way(us=us, path=_path(label))
    return best


class _Sets:
    """What is known of each set of tasks: which can follow, and whose outputs are still needed."""

    def __init__(self, graph: TaskGraph) -> None:
        self._graph = graph
        self._cost, self._transfer = graph.cost_us.tolist(), graph.transfer_us.tolist()
        self._needs = [sum(1 << at for at in before) for before in graph.predecessors]
        self._users = [sum(1 << at for at in after) for after in graph.successors]
        least = graph.cost_us.min(axis=1).tolist()
        self._tail = [0.0] * len(least)
        for task in range(len(least) - 1, -1, -1):
            self._tail[task] = max((least[at] + self._tail[at] for at in graph.successors[task]), default=0.0)
        self._known: dict[int, tuple[int, ...]] = {}

    def _kept(self, mask: int) -> tuple[int, ...]:
        """Tasks of a set whose outputs others need."""
        if mask not in self._known:
            tasks = range(len(self._needs))
            self._known[mask] = tuple(task for task in tasks if mask >> task & 1 and self._users[task] & ~mask)
        return self._known[mask]

    def grown(self, mask: int, label: _Label, limit_us: float) -> Iterator[tuple[int, _Label]]:
        """The label with one task more, on each processor."""
        processors = len(self._graph.processors)
        kept, times = self._kept(mask), label.times
        there = {task: times[processors * (at + 1) : processors * (at + 2)] for at, task in enumerate(kept)}
        for task, needs in enumerate(self._needs):
            if mask >> task & 1 or needs & ~mask:
                continue
            reached = mask | 1 << task
            for own, cost in enumerate(self._cost[task]):
                ready = max((there[before][own] for before in self._graph.predecessors[task]), default=0.0)
                end = max(times[own], ready) + cost
                if end + self._tail[task] > limit_us:
                    continue
                new = [*times[:own], end, *times[own + 1 : processors]]
                for other in self._kept(reached):
                    new += [end + delay for delay in self._transfer[task][own]] if other == task else there[other]
                yield reached, _Label(tuple(new), task, own, label)


def _front(labels: Sequence[_Label]) -> list[_Label]:
    """Labels of one set that no other is as early as everywhere."""
    if len(labels) == 1:
        return list(labels)
    times = np.array([label.times for label in labels])
    order = np.argsort(times.sum(axis=1), kind="stable")
    kept = np.empty_like(times)
    found: list[_Label] = []
    for at in order.tolist():
        if found and bool((kept[: len(found)] <= times[at]).all(axis=1).any()):
            continue
        kept[len(found)] = times[at]
        found.append(labels[at])
    return found


def _path(label: _Label) -> tuple[tuple[int, int], ...]:
    found = []
    at: _Label | None = label
    while at is not None and at.task >= 0:
        found.append((at.task, at.processor))
        at = at.before
    return tuple(reversed(found))
