"""A plan as the simulation sees it: stages with predicted times on lanes that work at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.errors import UsageError
from autotune.simulator.task_graph import CoRun

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedPlan:
    """Stages on lanes.

    Args:
        stage_us: [S] predicted µs of each stage while no other lane is busy, hand-over included.
        lane: [S] where each runs.
        needs: [S] positions of earlier stages that must have ended; None: a chain.
        streams: [L] inferences that each lane runs at the same time; None: one each.
        corun: slowdowns, by lane; (a, a) is what two streams of one lane do to each other.

    Raises:
        UsageError: no stage, a time that is not positive, a lane or stage that does not exist.
    """

    stage_us: tuple[float, ...]
    lane: tuple[int, ...]
    needs: tuple[tuple[int, ...], ...] | None = None
    streams: tuple[int, ...] | None = None
    corun: CoRun | None = None

    def __post_init__(self) -> None:
        count = len(self.stage_us)
        if not count or count != len(self.lane) or len(self.before) != count:
            raise UsageError(f"a plan needs one lane and one list of needs per stage, got {self}")
        if not all(np.isfinite(time) and time > 0 for time in self.stage_us):
            raise UsageError(f"stage times must be positive, got {self.stage_us}")
        if min(self.lane) < 0 or max(self.lane) >= len(self.copies) or min(self.copies) < 1:
            raise UsageError(f"stages on lanes {self.lane} do not fit streams {self.copies}")
        if any(at >= stage or at < 0 for stage, before in enumerate(self.before) for at in before):
            raise UsageError(f"a stage may need earlier ones only, got {self.before}")
        if self.corun and min(self.corun.values()) < 1:
            raise UsageError(f"a slowdown is at least 1, got {dict(self.corun)}")

    @property
    def before(self) -> tuple[tuple[int, ...], ...]:
        """[S] what each stage needs."""
        if self.needs is not None:
            return self.needs
        return tuple((at - 1,) if at else () for at in range(len(self.stage_us)))

    @property
    def copies(self) -> tuple[int, ...]:
        """[L] streams of each lane."""
        return self.streams if self.streams is not None else (1,) * (max(self.lane) + 1)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Packed:
    """Many plans as arrays, padded to the largest; the plan is the last axis, so that rows are contiguous.

    Args:
        stage_us: [S, P].
        lane: [S, P].
        count: [P] stages.
        waits: [S, P] how many stages each needs.
        after: [D, S, P] stages that need a stage; -1: none.
        first: [F, P] stages that need nothing; -1: none.
        worker_lane: [W, P] lane of each worker; -1: none.
        log_slowdown: [W, W, P] ln of how much longer work on the first takes while the second is busy; None: nothing
            slows anything.
    """

    stage_us: Floats
    lane: Ints
    count: Ints
    waits: Ints
    after: Ints
    first: Ints
    worker_lane: Ints
    log_slowdown: Floats | None

    @property
    def plans(self) -> int:
        """How many."""
        return len(self.count)

    @property
    def chains(self) -> bool:
        """Whether every stage of every plan needs the one before it and nothing else."""
        stages = np.arange(len(self.stage_us))[:, None]
        there = stages < self.count
        degree_one = len(self.after) <= 1 and len(self.first) == 1
        return bool(degree_one and np.array_equal(self.waits, np.where(there, np.minimum(stages, 1), 0)))


def pack(plans: Sequence[StagedPlan]) -> Packed:
    """Plans as arrays.

    Raises:
        UsageError: there is none.
    """
    if not plans:
        raise UsageError("there is no plan to simulate")
    size = max(len(plan.stage_us) for plan in plans)
    afters = [_after(plan) for plan in plans]
    firsts = [[stage for stage, before in enumerate(plan.before) if not before] for plan in plans]
    workers = [[lane for lane, copies in enumerate(plan.copies) for _ in range(copies)] for plan in plans]
    degree = max((len(found) for after in afters for found in after), default=0)
    shape = (max(map(len, workers)), len(plans))
    packed = Packed(
        stage_us=np.ones((size, len(plans))),
        lane=np.zeros((size, len(plans)), np.int64),
        count=np.array([len(plan.stage_us) for plan in plans]),
        waits=np.zeros((size, len(plans)), np.int64),
        after=np.full((degree, size, len(plans)), -1),
        first=np.full((max(map(len, firsts)), len(plans)), -1),
        worker_lane=np.full(shape, -1),
        log_slowdown=np.zeros((shape[0], *shape)) if any(plan.corun for plan in plans) else None,
    )
    for at, plan in enumerate(plans):
        count = len(plan.stage_us)
        packed.stage_us[:count, at] = plan.stage_us
        packed.lane[:count, at] = plan.lane
        packed.waits[:count, at] = [len(set(before)) for before in plan.before]
        packed.first[: len(firsts[at]), at] = firsts[at]
        packed.worker_lane[: len(workers[at]), at] = workers[at]
        for stage, found in enumerate(afters[at]):
            packed.after[: len(found), stage, at] = found
        if packed.log_slowdown is not None and plan.corun:
            _fill(packed.log_slowdown[:, :, at], workers[at], plan.corun)
    return packed


def _after(plan: StagedPlan) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in plan.stage_us]
    for stage, before in enumerate(plan.before):
        for at in set(before):
            found[at].append(stage)
    return found


def _fill(table: Floats, workers: Sequence[int], corun: CoRun) -> None:
    for own, lane in enumerate(workers):
        for other, beside in enumerate(workers):
            if own != other:
                table[own, other] = np.log(corun.get((lane, beside), 1.0))
