"""What models do to each other while they work at the same time: predicted from this device's co-runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotune.api.contention import slowdown_predictor
from autotune.api.run import Run
from autotune.api.together_run import JointRun
from autotune.core import Candidate, Concurrency, Kernel, Lane, Precision, StageChoice
from autotune.planning import Option
from autotune.planning.costs import Floats
from autotune.predictor import Load, SlowdownPredictor
from autotune.processors import share_out
from autotune.simulator import mean_slowdown

MOST_KERNELS = 64
"""Different kernels of a model that its slowdown is the mean of: those that take most of its time."""
Place = tuple[str, Precision, int]
"""Processor, precision and threads."""
Positions = NDArray[np.intp]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class ModelTimes:
    """What a model's own search found out about its kernels.

    Args:
        kernels: [K] of the model, in order.
        kernel_us: [K] cost of each, by lane.
        whole_us: of the whole model.
    """

    kernels: tuple[Kernel, ...]
    kernel_us: Mapping[Lane, Floats]
    whole_us: Mapping[Place, float]

    @staticmethod
    def of(run: Run) -> ModelTimes:
        """Those of a search that has ended."""
        whole: dict[Place, float] = {}
        for contender in run.singles():  # the fastest first
            candidate = contender.candidate
            if candidate is not None:
                us = contender.median_us * candidate.callers * candidate.batch
                whole.setdefault(_place(contender.lanes[0]), us)
        kernels = tuple(use.kernel for use in run.task.graph.kernels)
        return ModelTimes(kernels=kernels, kernel_us=run.kernel_us, whole_us=whole)

    def on(self, lane: Lane) -> Floats | None:
        """[K] µs of each kernel; of the nearest number of threads, scaled as the whole model does; None: not known."""
        known = [own for own in self.kernel_us if _place(own)[:2] == _place(lane)[:2]]
        if not known:
            return None
        nearest = min(known, key=lambda own: (abs(own.concurrency.threads - lane.concurrency.threads), str(own)))
        there, here = self.whole_us.get(_place(nearest)), self.whole_us.get(_place(lane))
        return self.kernel_us[nearest] * (here / there if here and there else 1.0)


class ModelContention:
    """Slowdowns of models beside each other, of all their kernels' by time; each pair of options is worked out once.

    Args:
        predictor: of this device's slowdowns.
        models: [M].
    """

    def __init__(self, predictor: SlowdownPredictor, models: Sequence[ModelTimes]) -> None:
        self.predictor = predictor
        self._models = tuple(models)
        self._work: dict[tuple[int, Lane], tuple[Positions, list[Load]] | None] = {}
        self._tables: dict[tuple[int, Lane, int, Lane], Floats] = {}
        self._known: dict[tuple[int, Option, int, Option], float | None] = {}

    def __call__(self, victim: int, option: Option, beside: int, other: Option) -> float | None:
        """As `planning.Slowdowns` says; None where no co-run of the two processors, or no kernel's time, is known."""
        key = (victim, option, beside, other)
        if key not in self._known:
            self._known[key] = self._predicted(*key)
        return self._known[key]

    def _predicted(self, victim: int, option: Option, beside: int, other: Option) -> float | None:
        total = weight = 0.0
        for lane, own in self._shares(victim, option.candidate).items():
            for neighbour, counts in self._shares(beside, other.candidate).items():
                apart = _apart(lane, neighbour)
                one, two = self._loads(victim, apart[0]), self._loads(beside, apart[1])
                if one is None or two is None or not self.predictor.knows(*apart):
                    return None
                own_us, other_us = own[one[0]] * _us(one[1]), counts[two[0]] * _us(two[1])
                both = float(own_us.sum() * other_us.sum())
                table = self._table(victim, beside, apart, one[1], two[1])
                total += both * mean_slowdown(table, own_us, other_us)
                weight += both
        copies = other.candidate.callers if other.cores else 1  # each of its callers' inferences is a neighbour
        return (total / weight) ** copies if weight else None

    def _shares(self, model: int, candidate: Candidate) -> dict[Lane, Floats]:
        """[K] how much of each kernel runs on each lane."""
        found: dict[Lane, Floats] = {}
        for stage in candidate.stages:
            counts = found.setdefault(stage.lane, np.zeros(len(self._models[model].kernels)))
            counts[list(stage.positions)] += _share(candidate, stage)
        return found

    def _loads(self, model: int, lane: Lane) -> tuple[Positions, list[Load]] | None:
        """Positions of the kernels that stand for the model on a lane, and these as loads; None: not known."""
        if (model, lane) not in self._work:
            times, kernels = self._models[model].on(lane), self._models[model].kernels
            if times is None:
                self._work[model, lane] = None
            else:
                usable = np.flatnonzero(np.isfinite(times) & (times > 0))
                heavy = usable[np.argsort(-times[usable], kind="stable")][:MOST_KERNELS]
                self._work[model, lane] = heavy, [Load(kernels=(kernels[k],), us=float(times[k])) for k in heavy]
        return self._work[model, lane]

    def _table(
        self, victim: int, beside: int, lanes: tuple[Lane, Lane], own: Sequence[Load], others: Sequence[Load]
    ) -> Floats:
        key = (victim, lanes[0], beside, lanes[1])
        if key not in self._tables:
            self._tables[key] = self.predictor.table(own, lanes[0], others, lanes[1])
        return self._tables[key]


def contention_of(joint: JointRun) -> ModelContention | None:
    """What this device's co-runs tell of these models; None where there are none."""
    predictor = slowdown_predictor(joint.place, joint.members[0].run.store, seed=joint.settings.seed)
    if not predictor.records:
        return None
    return ModelContention(predictor, [ModelTimes.of(member.run) for member in joint.members])


def _us(loads: Sequence[Load]) -> Floats:
    return np.array([load.us for load in loads])


def _share(candidate: Candidate, stage: StageChoice) -> float:
    """Of the work of its kernels: a part of a divided chain does a part of it, what joins the parts none."""
    if stage.part is None:
        return 1.0
    shares = next(split.shares for split in candidate.splits if split.kernels == stage.kernels)
    return shares[stage.part] / sum(shares) if stage.part < len(shares) else 0.0


def _place(lane: Lane) -> Place:
    return lane.processor, lane.precision, lane.concurrency.threads


def _apart(victim: Lane, beside: Lane) -> tuple[Lane, Lane]:
    """Both lanes as contention is profiled: with cores of their own, one behind the other, whichever they will be."""
    needs = [lane.concurrency.threads if lane.on_cpu else 0 for lane in (victim, beside)]
    one, two = share_out(needs, range(sum(needs)))
    return _on(victim, one), _on(beside, two)


def _on(lane: Lane, cores: tuple[int, ...]) -> Lane:
    return replace(lane, concurrency=Concurrency(threads=lane.concurrency.threads, cores=cores))
