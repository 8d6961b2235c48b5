"""Predicted slowdowns of kernels, as the slowdowns of lanes that a simulation takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.core import Kernel, Lane
from autotune.errors import UsageError
from autotune.predictor import Load, SlowdownPredictor
from autotune.simulator.task_graph import CoRun, Floats

Positions = Sequence[int] | NDArray[np.int64]
"""Kernels by their position, a range where they are one run (that is fastest); a kernel may stand there twice."""


_LEAST_US = 1e-3


class SlowdownTable:
    """What kernels do to each other on pairs of lanes: predicted once per pair of lanes, then only looked up.

    Kernels of several models may stand in one table, one model's behind the other's.

    Args:
        kernels: [K] in the order that plans count them.
        latency_us: lane -> [K] µs of each while nothing else runs; those that cannot run there are infinite.
        predictor: of slowdowns.
    """

    def __init__(
        self, kernels: Sequence[Kernel], latency_us: Mapping[Lane, Floats], predictor: SlowdownPredictor
    ) -> None:
        self.kernels, self.predictor = tuple(kernels), predictor
        self._us = {lane: _finite(us) for lane, us in latency_us.items()}
        self._tables: dict[tuple[Lane, Lane], Floats] = {}

    def of(self, victim: Lane, beside: Lane) -> Floats:
        """[K, K] slowdown of each kernel on the first lane while each kernel runs on the second.

        Raises:
            UsageError: a lane without latencies.
        """
        pair = victim, beside
        if pair not in self._tables:
            one, two = self._loads(victim), self._loads(beside)
            self._tables[pair] = self.predictor.table(one, victim, two, beside)
        return self._tables[pair]

    def _loads(self, lane: Lane) -> list[Load]:
        return [Load(kernels=(k,), us=float(us)) for k, us in zip(self.kernels, self._of_lane(lane), strict=True)]

    def _of_lane(self, lane: Lane) -> Floats:
        if lane not in self._us:
            raise UsageError(f"no latencies of {lane}; known: {', '.join(map(str, self._us)) or 'none'}")
        return self._us[lane]

    def slowdown(self, victim: Positions, victim_lane: Lane, beside: Positions, beside_lane: Lane) -> float:
        """How many times longer some kernels take while others run on and on: the mean weighted by time on both sides.

        Args:
            victim: what is slowed down.
            victim_lane: where it runs.
            beside: what the other lane is busy with.
            beside_lane: where that runs.
        """
        return self.between(self.counts([victim]), victim_lane, self.counts([beside]), beside_lane)

    def counts(self, work: Sequence[Positions]) -> Floats:
        """[K] how often each kernel runs."""
        found = np.zeros(len(self.kernels))
        for own in work:
            if isinstance(own, range) and own.step == 1:
                found[own.start : own.stop] += 1
            else:
                np.add.at(found, np.asarray(own, dtype=np.int64), 1)
        return found

    def between(self, victim: Floats, victim_lane: Lane, beside: Floats, beside_lane: Lane) -> float:
        """As `slowdown`, of kernels by their `counts`."""
        own_us, other_us = victim * self._of_lane(victim_lane), beside * self._of_lane(beside_lane)
        return mean_slowdown(self.of(victim_lane, beside_lane), own_us, other_us)


def mean_slowdown(table: Floats, victim_us: Floats, beside_us: Floats) -> float:
    """How many times longer work takes beside other work of which any kernel may run meanwhile: weighted by time.

    Args:
        table: [V, B] slowdown of each kernel beside each other one.
        victim_us: [V] time that each kernel of the work takes in all while nothing else runs.
        beside_us: [B] likewise of the other work.
    """
    total = victim_us.sum() * beside_us.sum()
    return max(1.0, float(victim_us @ table @ beside_us / total)) if total else 1.0


def _finite(us: Floats) -> Floats:
    """Kernels that cannot run there, or take no time, weigh nothing."""
    found: Floats = np.where(np.isfinite(us), np.maximum(us, _LEAST_US), _LEAST_US)
    return found


def slowdowns(
    table: SlowdownTable,
    stages: Sequence[Positions],
    lane: Sequence[int],
    lanes: Sequence[Lane],
    *,
    streams: Sequence[int] | None = None,
) -> CoRun:
    """The `corun` of a `StagedPlan`: what the stages of each lane do to those of each other one.

    Args:
        table: of the plan's kernels, on its lanes.
        stages: [S] kernels of each stage, by their position in the table.
        lane: [S] where each runs, by position in `lanes`.
        lanes: [L].
        streams: [L] inferences that each lane runs at the same time; a lane with several slows itself. None: one each.
    """
    copies = streams if streams is not None else (1,) * len(lanes)
    work = [table.counts([own for own, on in zip(stages, lane, strict=True) if on == at]) for at in range(len(lanes))]
    found = {}
    for victim, own in enumerate(lanes):
        for beside, other in enumerate(lanes):
            if victim != beside or copies[victim] > 1:
                found[victim, beside] = table.between(work[victim], own, work[beside], other)
    return found
