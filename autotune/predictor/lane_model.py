"""What is learnt of one lane: a roofline, trees on what it leaves over, and a calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.core import Identity, Lane
from autotune.predictor.conformal import Calibration, calibrate
from autotune.predictor.features import Matrix, lane_table
from autotune.predictor.prior import Roofline, family_codes, fit_roofline
from autotune.predictor.training import MIN_RECORDS

if TYPE_CHECKING:
    import xgboost as xgb

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSettings:
    """How the trees are grown.

    Args:
        rounds: number of trees.
        depth: of each tree.
        rate: learning rate.
        folds: of the cross-conformal calibration.
    """

    rounds: int = 200
    depth: int = 6
    rate: float = 0.08
    folds: int = 4

    def parameters(self, seed: int) -> dict[str, Any]:
        """XGBoost's parameters; one thread, since lanes and folds are trained side by side."""
        return {
            "objective": "reg:squarederror", "tree_method": "hist", "max_depth": self.depth, "eta": self.rate,
            "subsample": 0.8, "colsample_bynode": 0.5, "min_child_weight": 3, "lambda": 1.0, "base_score": 0.0,
            "max_bin": 128, "nthread": 1, "seed": seed, "verbosity": 0,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneModel:
    """Predicts one lane.

    Args:
        lane: which one.
        identity: of the records that it learnt from.
        records: how many they were.
        prior: the lane's roofline.
        calibration: of its intervals.
        booster: trees on log(latency / prior); None where there were too few records for any.
    """

    lane: Lane
    identity: Identity
    records: int
    prior: Roofline
    calibration: Calibration
    booster: xgb.Booster | None

    def predict_us(self, rows: Matrix, cores: int) -> Vector:
        """Latency in µs per row of kernel features."""
        log_us = predict_log(self.prior, self.booster, rows, self.lane, cores)
        result: Vector = np.exp(log_us)
        return result

    def factor(self, rows: Matrix) -> Vector:
        """Upper end of the 90 % interval over the median, per row."""
        return self.calibration.factor(family_codes(rows))


def predict_log(prior: Roofline, booster: xgb.Booster | None, rows: Matrix, lane: Lane, cores: int) -> Vector:
    """Natural logarithm of the latency in µs."""
    log_prior = prior.log_us(rows)
    if booster is None or not len(rows):
        return log_prior
    table = lane_table(rows, lane, cores, log_prior)
    result: Vector = log_prior + booster.inplace_predict(table)
    return result


def fit_parts(
    rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, settings: TreeSettings, seed: int
) -> tuple[Roofline, xgb.Booster | None]:
    """Roofline, and trees where there are records enough."""
    prior = fit_roofline(rows, latency_us)
    if len(rows) < MIN_RECORDS:
        return prior, None
    import xgboost as xgb

    log_prior = prior.log_us(rows)
    table = lane_table(rows, lane, cores, log_prior)
    data = xgb.QuantileDMatrix(table, label=np.log(latency_us) - log_prior, max_bin=128, nthread=1)
    booster = xgb.train(settings.parameters(seed), data, num_boost_round=settings.rounds)
    booster.set_param({"nthread": cores})
    return prior, booster


def out_of_fold(
    rows: Matrix,
    latency_us: Vector,
    folds: npt.NDArray[np.intp],
    lane: Lane,
    cores: int,
    *,
    settings: TreeSettings,
    seed: int,
) -> Vector:
    """log(measured / predicted) of every row, by models that did not see its fold."""
    residuals = np.zeros(len(rows))
    for fold in np.unique(folds):
        held = folds == fold
        if held.all():
            prior = fit_roofline(rows, latency_us)
            return np.asarray(np.log(latency_us) - prior.log_us(rows))
        prior, booster = fit_parts(rows[~held], latency_us[~held], lane, cores, settings=settings, seed=seed)
        residuals[held] = np.log(latency_us[held]) - predict_log(prior, booster, rows[held], lane, cores)
    return residuals


def calibration_of(residuals: Vector, rows: Matrix) -> Calibration:
    """Calibration from out-of-fold residuals."""
    return calibrate(residuals, family_codes(rows))
