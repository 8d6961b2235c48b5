"""When every task runs, given where and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autotune.simulator.task_graph import CoRun, TaskGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A finished simulation.

    Args:
        processor: [N] where each task ran.
        order: [N] tasks by the order in which processors take them.
        start_us: [N] begin of each.
        finish_us: [N] end of each.
    """

    processor: tuple[int, ...]
    order: tuple[int, ...]
    start_us: tuple[float, ...]
    finish_us: tuple[float, ...]

    @property
    def makespan_us(self) -> float:
        """From the first begin to the last end."""
        return max(self.finish_us, default=0.0)


@lru_cache(maxsize=16)
def _lists(key: _ById) -> tuple[Any, Any]:
    return key.graph.cost_us.tolist(), key.graph.transfer_us.tolist()


class _ById:
    """A key by identity: arrays cannot be hashed, and indexing nested lists is many times faster than arrays."""

    __slots__ = ("graph",)

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph

    def __hash__(self) -> int:
        return id(self.graph)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.graph is self.graph


def simulate(graph: TaskGraph, processor: Sequence[int], order: Sequence[int]) -> Schedule:
    """Each processor takes its tasks in `order`, one at a time, each as soon as its inputs are there.

    Copies between processors delay the consumer and keep no processor busy.

    Args:
        graph: the tasks.
        processor: [N] where each runs.
        order: [N] a topological order.
    """
    cost, transfer = _lists(_ById(graph))
    free = [0.0] * len(graph.processors)
    start = [0.0] * len(processor)
    finish = [0.0] * len(processor)
    for task in order:
        own = processor[task]
        ready = free[own]
        for before in graph.predecessors[task]:
            there = finish[before] + transfer[before][processor[before]][own]
            ready = max(ready, there)
        start[task] = ready
        free[own] = finish[task] = ready + cost[task][own]
    return Schedule(processor=tuple(processor), order=tuple(order), start_us=tuple(start), finish_us=tuple(finish))


def play(graph: TaskGraph, processor: Sequence[int], order: Sequence[int], corun: CoRun) -> Schedule:
    """As `simulate`, with processors that slow each other down while both are busy.

    Work goes on at a rate that changes whenever a task begins or ends anywhere; several busy neighbours multiply.

    Args:
        graph: the tasks.
        processor: [N] where each runs.
        order: [N] a topological order.
        corun: slowdowns; a pair that is missing does not disturb.
    """
    cost, transfer = _lists(_ById(graph))
    queues: list[list[int]] = [[task for task in order if processor[task] == p] for p in range(len(graph.processors))]
    start, finish = [0.0] * len(processor), [0.0] * len(processor)
    done: set[int] = set()
    running: dict[int, tuple[int, float]] = {}  # processor -> task, µs of undisturbed work left
    now = 0.0
    while len(done) < len(processor):
        arrivals = []
        for own, queue in enumerate(queues):
            if own in running or not queue or not done.issuperset(graph.predecessors[queue[0]]):
                continue
            task = queue[0]
            ready = max((finish[b] + transfer[b][processor[b]][own] for b in graph.predecessors[task]), default=0.0)
            if ready > now:
                arrivals.append(ready)
                continue
            queue.pop(0)
            start[task] = now
            running[own] = (task, cost[task][own])
        slowdown = {own: _product(corun.get((own, other), 1.0) for other in running if other != own) for own in running}
        ends = {own: now + left * slowdown[own] for own, (_, left) in running.items()}
        then = min([*ends.values(), *arrivals])
        for own, (task, left) in list(running.items()):
            if ends[own] <= then:  # what ends first ends, however little an ulp of the time would leave of it
                finish[task] = then
                done.add(task)
                del running[own]
            else:
                running[own] = (task, left - (then - now) / slowdown[own])
        now = then
    return Schedule(processor=tuple(processor), order=tuple(order), start_us=tuple(start), finish_us=tuple(finish))


def _product(values: Any) -> float:
    result = 1.0
    for value in values:
        result *= value
    return result
