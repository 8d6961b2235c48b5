"""The exact optimum of a placement as a mixed-integer program, where the solver can prove it in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.simulator import Schedule, TaskGraph, simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactSchedule:
    """What the solver found.

    Args:
        schedule: its best, None if it found none in time.
        bound_us: no schedule ends before.
        proven: whether the schedule is optimal (within the solver's gap of 0.01 %).
    """

    schedule: Schedule | None
    bound_us: float
    proven: bool


Terms = list[tuple[int, float]]
INFEASIBLE = 2
"""SciPy's status."""


class _Program:
    """Columns: [N * P] where (binary), [N] begin, 1 end, [pairs] which of two is first (binary).

    Rows: low <= A x <= high.
    """

    def __init__(self, graph: TaskGraph, limit: float) -> None:
        self.graph = graph
        self.limit = limit
        self.count, self.processors = len(graph.names), len(graph.processors)
        self.cost = np.where(np.isfinite(graph.cost_us), graph.cost_us, 0.0)
        self.end = self.count * (self.processors + 1)
        ordered = graph.ancestors | graph.ancestors.T
        self.pairs = [(one, two) for two in range(self.count) for one in range(two) if not ordered[one, two]]
        self.total = self.end + 1 + len(self.pairs)
        self.rows: list[Terms] = []
        self.low: list[float] = []
        self.high: list[float] = []

    def on(self, task: int, own: int) -> int:
        return task * self.processors + own

    def begin(self, task: int) -> int:
        return self.count * self.processors + task

    def less_duration(self, task: int) -> Terms:
        return [(self.on(task, own), -float(self.cost[task, own])) for own in range(self.processors)]

    def add(self, terms: Terms, low: float, high: float = np.inf) -> None:
        self.rows.append(terms)
        self.low.append(low)
        self.high.append(high)

    def build(self) -> None:
        for task in range(self.count):
            self.add([(self.on(task, own), 1.0) for own in range(self.processors)], 1.0, 1.0)
            self.add([(self.end, 1.0), (self.begin(task), -1.0), *self.less_duration(task)], 0.0)
            for before in self.graph.predecessors[task]:
                self._after(task, before)
        for at, (one, two) in enumerate(self.pairs):
            for own in range(self.processors):
                self._apart(self.end + 1 + at, one, two, own)
        for own in range(self.processors):
            work = [(self.on(task, own), -float(self.cost[task, own])) for task in range(self.count)]
            self.add([(self.end, 1.0), *work], 0.0)

    def _after(self, task: int, before: int) -> None:
        """A task begins when the one before it has ended and its output is there."""
        ended = [(self.begin(task), 1.0), (self.begin(before), -1.0), *self.less_duration(before)]
        self.add(ended, 0.0)
        for own in range(self.processors):
            for other in range(self.processors):
                delay = float(self.graph.transfer_us[before, own, other])
                if delay > 0:
                    moved = [(self.on(before, own), -delay), (self.on(task, other), -delay)]
                    self.add([*ended, *moved], -delay)

    def _apart(self, order: int, one: int, two: int, own: int) -> None:
        """Two tasks on the same processor do not overlap."""
        both = [(self.on(one, own), -self.limit), (self.on(two, own), -self.limit)]
        for first, second, sign, low in ((one, two, -1.0, -3.0), (two, one, 1.0, -2.0)):
            times = [(self.begin(second), 1.0), (self.begin(first), -1.0)]
            self.add([*times, (order, sign * self.limit), *both, *self.less_duration(first)], low * self.limit)

    def matrix(self) -> Any:
        from scipy.sparse import coo_array

        row = [at for at, terms in enumerate(self.rows) for _ in terms]
        column = [column for terms in self.rows for column, _ in terms]
        value = [value for terms in self.rows for _, value in terms]
        return coo_array((value, (row, column)), shape=(len(self.rows), self.total)).tocsr()  # sums equal places

    def upper(self) -> NDArray[np.float64]:
        found = np.ones(self.total)
        found[: self.count * self.processors] = np.isfinite(self.graph.cost_us).ravel()
        found[self.count * self.processors : self.end + 1] = self.limit * (1 + 1e-6)
        return found


def solve(graph: TaskGraph, *, known: Schedule, seconds: float = 60.0) -> ExactSchedule:
    """Solves with HiGHS (`scipy.optimize.milp`): where, when, and in which order tasks that could meet.

    Args:
        graph: the tasks; every cost finite on at least one processor.
        known: a schedule: nothing later than it is looked at.
        seconds: time limit.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    program = _Program(graph, known.makespan_us)
    program.build()
    objective, integral = np.zeros(program.total), np.ones(program.total)
    objective[program.end] = 1.0
    times = slice(program.count * program.processors, program.end)
    integral[times] = integral[program.end] = 0
    for presolve in (True, False):  # HiGHS's presolve calls some of them infeasible; `known` shows that none is
        solved = milp(
            objective,
            constraints=LinearConstraint(program.matrix(), np.array(program.low), np.array(program.high)),
            integrality=integral,
            bounds=Bounds(np.zeros(program.total), program.upper()),
            options={"time_limit": seconds, "mip_rel_gap": 1e-4, "presolve": presolve},
        )
        if solved.status != INFEASIBLE:
            break
    bound = float(solved.mip_dual_bound) if solved.mip_dual_bound is not None else 0.0
    if solved.x is None:
        return ExactSchedule(schedule=None, bound_us=max(bound, 0.0), proven=False)
    where = solved.x[: times.start].reshape(program.count, program.processors).argmax(axis=1).tolist()
    begins = solved.x[times].round(6).tolist()
    order = sorted(range(program.count), key=lambda task: (begins[task], task))
    return ExactSchedule(schedule=simulate(graph, where, order), bound_us=bound, proven=solved.status == 0)
