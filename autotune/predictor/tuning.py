"""A learner's settings for this device's records: Optuna, under nested cross-validation by model.

Varma and Simon, "Bias in error estimation when using cross-validation for model selection" (2006): the settings are
chosen within the models that remain, so that the error on the models left out is that of the whole procedure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.errors import UsageError
from autotune.predictor.features import KernelRows
from autotune.predictor.learner import LEARNERS, Learner, learner, settings_of
from autotune.predictor.training import Groups, LaneRecords, TrainingSet, folds_of

if TYPE_CHECKING:
    import optuna

OUTER, INNER = 4, 3
"""Folds of whole models: those that judge, and within the rest those that choose."""
TRIALS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What tuning found.

    Args:
        learner: with the settings chosen on all models.
        settings: those, by name.
        trials: proposals that were judged for each choice, the defaults among them.
        error: mean absolute log error on models left out of the choice, settings chosen without them.
        default_error: the same of the default settings.
    """

    learner: Learner
    settings: dict[str, Any]
    trials: int
    error: float
    default_error: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lane:
    """A lane's features, with the fold that judges each row and the fold that chooses."""

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
) -> Tuning:
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
    lanes = []
    for part in data.lanes:
        unique, inverse = rows.take(part.kernels)
        lanes.append(_Lane(part=part, rows=unique[inverse], folds=folds_of(part.signatures, groups, OUTER)))
    choose = partial(
        _choose, default=default, suggested=suggested, groups=groups, cores=cores, trials=trials, seed=seed
    )
    found, default_found = [], []
    for fold in range(OUTER):
        rest = [lane.only(lane.folds != fold) for lane in lanes]
        chosen = choose(rest)
        for lane, kept in zip(lanes, rest, strict=True):
            held = lane.only(lane.folds == fold)
            found.append(_errors(kept, held, chosen, cores=cores, seed=seed))
            default_found.append(_errors(kept, held, default, cores=cores, seed=seed))
    best = choose(lanes)
    return Tuning(
        learner=best,
        settings=settings_of(best),
        trials=trials,
        error=float(np.mean(np.concatenate(found))),
        default_error=float(np.mean(np.concatenate(default_found))),
    )


def _choose(
    lanes: list[_Lane],
    *,
    default: Learner,
    suggested: Callable[[optuna.Trial], Learner],
    groups: Groups | None,
    cores: int,
    trials: int,
    seed: int,
) -> Learner:
    """The settings with the least error over inner folds by model; the defaults unless others are better."""
    import optuna

    inner = [replace(lane, folds=folds_of(lane.part.signatures, groups, INNER)) for lane in lanes]

    def error(one: Learner) -> float:
        parts = [
            _errors(lane.only(lane.folds != fold), lane.only(lane.folds == fold), one, cores=cores, seed=seed)
            for lane in inner
            for fold in range(INNER)
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


def _errors(known: _Lane, held: _Lane, one: Learner, *, cores: int, seed: int) -> npt.NDArray[np.float64]:
    """|log(predicted / measured)| of the rows held out; none where nothing can be learnt from the rest."""
    if not len(known.rows) or not len(held.rows):
        return np.zeros(0)
    lane = known.part.lane
    regressor = one.fit(known.rows, known.part.latency_us, lane, cores, seed=seed)
    result: npt.NDArray[np.float64] = np.abs(regressor.log_us(held.rows, lane, cores) - np.log(held.part.latency_us))
    return result
