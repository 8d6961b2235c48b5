"""Where each task of a graph runs and in which order, so that the whole ends first."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autotune.planning.exact_parts import exact_by_parts
from autotune.planning.heft import heft, upward_rank
from autotune.simulator import CoRun, Schedule, TaskGraph, play, simulate

HISTORY = 60
"""Length of late acceptance: a step is taken if it is no worse than the one so many steps ago."""
IDLE_STEPS = 4000
RANK_NOISE = 0.15
PARTS_SHARE = 0.5
"""Of the time, for solving parts exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A schedule and what else was tried.

    Args:
        schedule: the best that was found.
        single: [P] µs with all tasks on one processor, inf where it cannot run them all.
        heft_us: what HEFT reaches.
        evaluations: schedules that were simulated.
    """

    schedule: Schedule
    single: tuple[float, ...]
    heft_us: float
    evaluations: int


def place(graph: TaskGraph, *, corun: CoRun | None = None, seed: int = 0, seconds: float = 10.0) -> Placement:
    """The optimum where it can be had part by part (`exact_parts`), else late-acceptance hill climbing.

    It climbs (Burke and Bykov 2017) from every single processor, each task's best, HEFT, and what the parts give. Steps
    move one task, or a run of tasks of the order, to a processor, or change the order.

    Args:
        graph: the tasks.
        corun: slowdowns of processors that are busy at the same time.
        seed: of the steps.
        seconds: most time to spend.
    """
    rng = random.Random(seed)
    evaluate = _evaluator(graph, corun or {})
    rank = upward_rank(graph)
    first = _order(rank)
    processors = range(len(graph.processors))
    starts = [[own] * len(graph.names) for own in processors if np.isfinite(graph.cost_us[:, own]).all()]
    alone = {tuple(start): evaluate(start, first).makespan_us for start in starts}
    listed = heft(graph)
    schedules = [evaluate(start, first) for start in starts]
    schedules += [evaluate(listed.processor, listed.order), evaluate(graph.cost_us.argmin(axis=1).tolist(), first)]
    evaluations = 2 * len(starts) + 2
    until = time.monotonic() + seconds
    proven = False
    if not corun:  # which work of one part would do to that of another is not known before both are placed
        parted = exact_by_parts(graph, known=listed, seconds=PARTS_SHARE * seconds, prove=False)
        schedules += [parted.schedule] if parted.schedule is not None else []
        proven = parted.proven
    best = min(schedules, key=lambda schedule: schedule.makespan_us)
    share = seconds / len(schedules)
    for at, schedule in enumerate(sorted(schedules, key=lambda schedule: schedule.makespan_us)):
        if proven:
            break
        found, steps = _climb(graph, schedule, rank, evaluate, rng, min(until, until - seconds + (at + 1) * share))
        evaluations += steps
        if found.makespan_us < best.makespan_us:
            best = found
    return Placement(
        schedule=best,
        single=tuple(alone.get((own,) * len(graph.names), math.inf) for own in processors),
        heft_us=evaluate(listed.processor, listed.order).makespan_us if corun else listed.makespan_us,
        evaluations=evaluations,
    )


Evaluator = Callable[[Sequence[int], Sequence[int]], Schedule]


def _evaluator(graph: TaskGraph, corun: CoRun) -> Evaluator:
    if corun:
        return lambda processor, order: play(graph, processor, order, corun)
    return lambda processor, order: simulate(graph, processor, order)


def _order(rank: np.ndarray) -> list[int]:
    """A topological order: tasks by falling upward rank (a task's rank is above those of its successors)."""
    return [int(task) for task in np.lexsort((np.arange(len(rank)), -rank))]


def _climb(
    graph: TaskGraph, start: Schedule, rank: np.ndarray, evaluate: Evaluator, rng: random.Random, until: float
) -> tuple[Schedule, int]:
    now = best = start
    history = [start.makespan_us] * HISTORY
    step = idle = 0
    while time.monotonic() < until and idle < IDLE_STEPS:
        step += 1
        processor, order = _neighbour(graph, now, rank, rng)
        candidate = evaluate(processor, order)
        if candidate.makespan_us <= max(history[step % HISTORY], now.makespan_us):
            now = candidate
        history[step % HISTORY] = now.makespan_us
        idle += 1
        if now.makespan_us < best.makespan_us * (1 - 1e-9):
            best, idle = now, 0
    return best, step


def _neighbour(
    graph: TaskGraph, now: Schedule, rank: np.ndarray, rng: random.Random
) -> tuple[Sequence[int], Sequence[int]]:
    count, processors = graph.cost_us.shape
    kind = rng.random()
    if kind < 0.25:
        return now.processor, _shifted(graph, now.order, rng)
    if kind < 0.3:
        noise = np.array([rng.uniform(1 - RANK_NOISE, 1 + RANK_NOISE) for _ in range(count)])
        return now.processor, _topological(graph, rank * noise)
    changed = list(now.processor)
    target = rng.randrange(processors)
    at = rng.randrange(count)
    length = 1 if kind < 0.65 else rng.randint(2, max(2, min(12, count)))
    for task in now.order[at : at + length]:
        if np.isfinite(graph.cost_us[task, target]):
            changed[task] = target
    return changed, now.order


def _shifted(graph: TaskGraph, order: Sequence[int], rng: random.Random) -> list[int]:
    """One task moved to another place between its predecessors and its successors."""
    at = rng.randrange(len(order))
    task = order[at]
    low, high = at, at
    before, after = set(graph.predecessors[task]), set(graph.successors[task])
    while low > 0 and order[low - 1] not in before:
        low -= 1
    while high < len(order) - 1 and order[high + 1] not in after:
        high += 1
    rest = [*order[:at], *order[at + 1 :]]
    rest.insert(rng.randint(low, high), task)
    return rest


def _topological(graph: TaskGraph, priority: np.ndarray) -> list[int]:
    """Ready tasks by falling priority."""
    import heapq

    waiting = [len(before) for before in graph.predecessors]
    ready = [(-float(priority[task]), task) for task, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    found = []
    while ready:
        _, task = heapq.heappop(ready)
        found.append(task)
        for after in graph.successors[task]:
            waiting[after] -= 1
            if not waiting[after]:
                heapq.heappush(ready, (-float(priority[after]), after))
    return found
