"""What is known of one lane: a regressor and the calibration of its intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import numpy.typing as npt

from autotune.core import Identity, Lane
from autotune.predictor.conformal import Calibration, calibrate
from autotune.predictor.features import KernelRows, Matrix
from autotune.predictor.learner import Learner, Regressor, choices, forgetting
from autotune.predictor.prior import family_codes
from autotune.predictor.siblings import Known
from autotune.predictor.training import Groups, LaneRecords, folds_of, models_of, owners

Vector = npt.NDArray[np.float64]

FOLDS = 4
"""Of the cross-conformal calibration."""
MANY = 50_000
"""Records of a lane from which one fold is enough."""
MODELS, OF_MODELS = 3, 50
"""Models, and kernels of theirs on a lane, from which intervals are theirs alone: what is drawn is harder to predict,
and with all together 96 of 100 kernels of a model left out were inside (docs/decisions.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneModel:
    """Predicts one lane.

    Args:
        lane: which one.
        identity: of the records that it learnt from.
        records: how many they were.
        regressor: what was learnt.
        calibration: of its intervals.
        sentinel_us: at which speed of the machine it predicts: what the lane's sentinel takes then; 0: unknown.
    """

    lane: Lane
    identity: Identity
    records: int
    regressor: Regressor
    calibration: Calibration
    sentinel_us: float = 0.0

    def predict_us(self, rows: Matrix, cores: int, sentinel_us: float = 0.0) -> Vector:
        """Latency in µs per row of kernel features, on a machine whose sentinel takes `sentinel_us` (0: as learnt)."""
        slower = sentinel_us / self.sentinel_us if sentinel_us > 0 and self.sentinel_us > 0 else 1.0
        result: Vector = np.exp(self.regressor.log_us(rows, self.lane, cores)) * slower
        return result

    def factor(self, rows: Matrix) -> Vector:
        """Upper end of the 90 % interval over the median, per row."""
        return self.calibration.factor(family_codes(rows))


def fit_lane(
    part: LaneRecords,
    features: KernelRows,
    learner: Learner,
    groups: Groups | None,
    *,
    siblings: Sequence[LaneRecords] = (),
    cores: int,
    seed: int,
    calibrated: bool,
) -> LaneModel:
    """Learn a lane; without calibration on models left out, intervals are those of the training residuals.

    What it has not measured itself, its siblings tell (`siblings.py`); intervals are of its own records.

    A learner that has a choice (`learner.Helped`) is left models out anyhow: what errs least on them is taken, and its
    residuals there make the intervals. Choosing between two flatters them little.
    """
    known = Known(part=part, siblings=tuple(siblings), features=features)
    rows, latency_us = known.filled()
    own = rows[: len(part.kernels)]
    options = choices(learner, part.lane, len(own))
    if calibrated or len(options) > 1:
        folds = folds_of(part.signatures, groups, FOLDS)
        tried = [_out_of_fold(known, own, folds, one, cores=cores, seed=seed) for one in options]
        best = min(range(len(options)), key=lambda at: float(np.abs(tried[at][0]).sum()))
        residuals, held = tried[best]
        regressor = options[best].fit(rows, latency_us, part.lane, cores, seed=seed)
    else:
        regressor = options[0].fit(rows, latency_us, part.lane, cores, seed=seed)
        residuals, held = np.log(part.latency_us) - regressor.log_us(own, part.lane, cores), np.full(len(own), True)
    models = np.array(_models_of(part.signatures, groups))
    of_models = held & (models != "")
    enough = of_models.sum() >= OF_MODELS and len(set(models[of_models])) >= MODELS
    judged = of_models if enough else held
    return LaneModel(
        lane=part.lane,
        identity=part.identity,
        records=len(own),
        regressor=regressor,
        calibration=calibrate(residuals[judged], family_codes(own[judged]), models[judged].tolist()),
        sentinel_us=part.sentinel_us,
    )


def _models_of(signatures: Iterable[str], groups: Groups | None) -> list[str]:
    owner = owners(models_of(groups))
    return [owner.get(signature, "") for signature in signatures]


def _out_of_fold(
    known: Known, own: Matrix, folds: npt.NDArray[np.intp], learner: Learner, *, cores: int, seed: int
) -> tuple[Vector, npt.NDArray[np.bool_]]:
    """log(measured / predicted) by regressors that did not see a row's fold, and for which rows it is known (else 0).

    Nor did other lanes and devices that help see it. Known are all rows, but of `MANY` only those of one fold: their
    quantiles are certain enough, and a fit takes long.
    """
    part = known.part
    measured = np.log(part.latency_us)
    residuals, judged = np.zeros(len(own)), np.zeros(len(own), dtype=bool)
    for fold in np.unique(folds)[: 1 if len(own) >= MANY else None]:
        held = folds == fold
        unseen = tuple(compress(part.signatures, held))
        seen = known if held.all() else known.without(frozenset(unseen))  # a single record can't be held out
        regressor = forgetting(learner, unseen).fit(*seen.filled(), part.lane, cores, seed=seed)
        residuals[held] = measured[held] - regressor.log_us(own[held], part.lane, cores)
        judged |= held
    return residuals, judged


def borrowed(model: LaneModel, lane: Lane) -> LaneModel:
    """The model standing in for a lane that was never measured, with intervals twice as wide."""
    wider = replace(model.calibration, quantile=2 * model.calibration.quantile)
    return replace(model, lane=lane, calibration=wider)
