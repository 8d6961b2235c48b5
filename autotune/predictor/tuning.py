"""A learner's settings for this device's records: Optuna, under nested cross-validation by model.

Varma and Simon, "Bias in error estimation when using cross-validation for model selection" (2006): wherever models are
left out (`duel`, `evaluate`), settings are chosen anew within the models that remain, so that the error on those left
out is that of the whole procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.core import Lane
from autotune.errors import UsageError
from autotune.predictor.adapted import Adapted
from autotune.predictor.features import KernelRows, Matrix
from autotune.predictor.learner import LEARNERS, Learner, Regressor, learner
from autotune.predictor.training import MIN_RECORDS, Groups, LaneRecords, TrainingSet, folds_of

if TYPE_CHECKING:
    import optuna

Vector = npt.NDArray[np.float64]

FOLDS = 3
"""Folds of whole models that choose, among the models that are not left out."""
TRIALS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tuned:
    """A learner with settings chosen for these records, which tells what they would be without some of the models.

    Args:
        chosen: with the settings chosen on all models; it is what `settled` keeps.
        choose: the same, chosen without kernels of these signatures.
    """

    chosen: Learner
    choose: Callable[[frozenset[str]], Learner] = field(repr=False)

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return self.chosen.name

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> Regressor:
        """With the settings chosen on all models."""
        return self.chosen.fit(rows, latency_us, lane, cores, seed=seed)

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> Regressor:
        """As the learner does it."""
        return self.chosen.restore(state, files, cores)

    def forgetting(self, signatures: Collection[str]) -> Learner:
        """With the settings that are chosen without these kernels; each choice is made once."""
        return self.choose(frozenset(signatures))


def settled(one: Learner) -> Learner:
    """What is kept once everything is judged: with the settings chosen on all models."""
    if isinstance(one, Adapted):
        return replace(one, inner=settled(one.inner))
    return one.chosen if isinstance(one, Tuned) else one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lane:
    """A lane's features, with the fold of each row."""

    part: LaneRecords
    rows: npt.NDArray[np.float32]
    folds: npt.NDArray[np.intp]

    def only(self, wanted: npt.NDArray[np.bool_]) -> _Lane:
        """Some of its rows."""
        at = np.flatnonzero(wanted)
        part = replace(
            self.part,
            kernels=tuple(self.part.kernels[i] for i in at),
            signatures=tuple(self.part.signatures[i] for i in at),
            latency_us=self.part.latency_us[at],
        )
        return _Lane(part=part, rows=self.rows[at], folds=self.folds[at])


def tune(
    data: TrainingSet, groups: Groups | None, name: str, *, cores: int, trials: int = TRIALS, seed: int = 0
) -> Tuned:
    """Settings of the learner of this name that predict models left out best, one for all lanes.

    Args:
        data: of one device.
        groups: model name -> signatures.
        name: of the learner.
        cores: of the device.
        trials: proposals for each choice, the defaults among them.
        seed: of the proposals and the learners.

    Raises:
        UsageError: this learner has nothing to tune.
        UnknownNameError: there is none of this name.
    """
    default = learner(name)
    suggested = getattr(default, "suggested", None)
    if suggested is None:
        able = [other for other in LEARNERS if hasattr(learner(other), "suggested")]
        raise UsageError(f"the learner {name} has no settings to tune; those that have: {', '.join(able)}.")
    rows = KernelRows(limit=max(data.count, 1))

    @cache
    def choose(unseen: frozenset[str]) -> Learner:
        lanes = []
        for part in data.without(unseen).lanes:
            unique, inverse = rows.take(part.kernels)
            lanes.append(_Lane(part=part, rows=unique[inverse], folds=folds_of(part.signatures, groups, FOLDS)))
        if max((len(lane.rows) for lane in lanes), default=0) < MIN_RECORDS:
            return default  # too few to choose by
        return _choose(lanes, default, suggested, cores=cores, trials=trials, seed=seed)

    return Tuned(chosen=choose(frozenset()), choose=choose)


def _choose(
    lanes: list[_Lane],
    default: Learner,
    suggested: Callable[[optuna.Trial], Learner],
    *,
    cores: int,
    trials: int,
    seed: int,
) -> Learner:
    """The settings with the least error over folds by model; the defaults unless others are better."""
    import optuna

    def error(one: Learner) -> float:
        parts = [
            _errors(lane.only(lane.folds != fold), lane.only(lane.folds == fold), one, cores=cores, seed=seed)
            for lane in lanes
            for fold in range(FOLDS)
        ]
        return float(np.mean(np.concatenate(parts)))

    best, least = default, error(default)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(trials - 1):
        trial = study.ask()
        proposed = suggested(trial)
        value = error(proposed)
        study.tell(trial, value)
        if value < least:
            best, least = proposed, value
    return best


def _errors(known: _Lane, held: _Lane, one: Learner, *, cores: int, seed: int) -> Vector:
    """|log(predicted / measured)| of the rows held out; none where nothing can be learnt from the rest."""
    if not len(known.rows) or not len(held.rows):
        return np.zeros(0)
    lane = known.part.lane
    regressor = one.fit(known.rows, known.part.latency_us, lane, cores, seed=seed)
    result: Vector = np.abs(regressor.log_us(held.rows, lane, cores) - np.log(held.part.latency_us))
    return result
