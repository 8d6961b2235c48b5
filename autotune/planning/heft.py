"""HEFT: heterogeneous earliest finish time (Topcuoglu, Hariri and Wu, IEEE TPDS 2002), the list scheduler to beat."""

from __future__ import annotations

import numpy as np

from autotune.simulator import Schedule, TaskGraph


def heft(graph: TaskGraph) -> Schedule:
    """Tasks by falling upward rank, each where it ends first, into gaps where it fits."""
    count, processors = graph.cost_us.shape
    order = np.argsort(-upward_rank(graph), kind="stable").tolist()
    busy: list[list[tuple[float, float]]] = [[] for _ in range(processors)]
    processor, start, finish = [0] * count, [0.0] * count, [0.0] * count
    for task in order:
        best = (np.inf, 0, 0.0)
        for own in range(processors):
            cost = float(graph.cost_us[task, own])
            if not np.isfinite(cost):
                continue
            ready = max(
                (finish[b] + float(graph.transfer_us[b, processor[b], own]) for b in graph.predecessors[task]),
                default=0.0,
            )
            begin = _first_gap(busy[own], ready, cost)
            if begin + cost < best[0]:
                best = (begin + cost, own, begin)
        finish[task], processor[task], start[task] = best
        busy[processor[task]].append((start[task], finish[task]))
        busy[processor[task]].sort()
    by_start = tuple(sorted(range(count), key=lambda task: (start[task], task)))
    return Schedule(processor=tuple(processor), order=by_start, start_us=tuple(start), finish_us=tuple(finish))


def upward_rank(graph: TaskGraph) -> np.ndarray:
    """[N] longest path of mean costs and mean transfers from a task to the end."""
    count, processors = graph.cost_us.shape
    mean = np.nanmean(np.where(np.isfinite(graph.cost_us), graph.cost_us, np.nan), axis=1)
    pairs = max(1, processors * (processors - 1))
    crossing = graph.transfer_us.sum(axis=(1, 2)) / pairs
    rank = np.zeros(count)
    for task in range(count - 1, -1, -1):
        rank[task] = mean[task] + max((crossing[task] + rank[after] for after in graph.successors[task]), default=0.0)
    return rank


def _first_gap(busy: list[tuple[float, float]], ready: float, cost: float) -> float:
    begin = ready
    for taken, until in busy:
        if begin + cost <= taken:
            return begin
        begin = max(begin, until)
    return begin
