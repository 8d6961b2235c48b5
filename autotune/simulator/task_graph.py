"""A model as tasks with costs on each processor, whatever the costs come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autotune.errors import UsageError

Floats = NDArray[np.float64]
CoRun = Mapping[tuple[int, int], float]
"""(processor, other processor that is busy) -> how many times longer work on the first takes, at least 1."""


@dataclass(frozen=True, kw_only=True)
class TaskGraph:
    """Tasks in a topological order, with their costs.

    Args:
        names: [N] of the tasks.
        processors: [P] names.
        predecessors: [N] positions of earlier tasks whose outputs a task needs.
        cost_us: [N, P] µs of a task on a processor, inf where it cannot run.
        transfer_us: [N, P, P] µs from the end of a task on one processor until its output is there on another; 0 on
            the diagonal.

    Raises:
        UsageError: a task that needs a later one, or that no processor can run.
    """

    names: tuple[str, ...]
    processors: tuple[str, ...]
    predecessors: tuple[tuple[int, ...], ...]
    cost_us: Floats
    transfer_us: Floats

    def __post_init__(self) -> None:
        for task, before in enumerate(self.predecessors):
            if any(at >= task for at in before):
                raise UsageError(f"{self.names[task]!r} needs a task that does not come before it")
        nowhere = ~np.isfinite(self.cost_us).any(axis=1)
        if nowhere.any():
            name = self.names[int(nowhere.argmax())]
            raise UsageError(f"no processor of {', '.join(self.processors)} can run {name!r}: give its latency on one")

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """[N] positions of the tasks that need a task's output."""
        found: list[list[int]] = [[] for _ in self.names]
        for task, before in enumerate(self.predecessors):
            for at in before:
                found[at].append(task)
        return tuple(map(tuple, found))

    @cached_property
    def ancestors(self) -> NDArray[np.bool_]:
        """[N, N] whether the second task comes before the first on a path."""
        found = np.zeros((len(self.names), len(self.names)), dtype=bool)
        for task, before in enumerate(self.predecessors):
            for at in before:
                found[task] |= found[at]
                found[task, at] = True
        return found
