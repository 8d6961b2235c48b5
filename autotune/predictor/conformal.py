"""Intervals that hold as often as they say, whatever the model: cross-conformal with normalised residuals.

Vovk, "Cross-conformal predictors" (2015); normalisation as in Lei et al., "Distribution-free predictive inference for
regression" (JASA 2018, section 5.2), with a scale per kernel family. Folds are whole models with the synthetic kernels
that were drawn from their architecture, or all that were drawn from another one (`training.folds_of`), so that the
residuals are those of kernels of an architecture never seen; where too few are known, folds are of single kernels.

Kernels of a model err partly alike: how much tells how far errors of a stage's kernels cancel out (intraclass
correlation; Fisher, "Statistical Methods for Research Workers", 1925; for groups of unequal size as in Donner, "A
review of inference procedures for the intraclass correlation coefficient", Int. Stat. Review 1986).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES

COVERAGE = 0.9
_PULL = 10.0
_FLOOR = 0.005
_LEAST_MODELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Half width of a 90 % interval in log space.

    Args:
        scale: typical absolute residual per family of `FAMILIES`.
        quantile: how many scales the interval reaches to either side.
        shared: share of the squared error that kernels of a model have in common, 0 … 1; 1 where it is not known.
    """

    scale: tuple[float, ...]
    quantile: float
    shared: float = 1.0

    def factor(self, families: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Upper end over median, per row of family codes; at least 1."""
        result: npt.NDArray[np.float64] = np.exp(np.minimum(self.quantile * np.asarray(self.scale)[families], 20.0))
        return result


def calibrate(
    log_residuals: npt.NDArray[np.float64], families: npt.NDArray[np.intp], models: Sequence[str] = ()
) -> Calibration:
    """From out-of-fold residuals log(measured / predicted).

    Args:
        log_residuals: one per kernel.
        families: their codes.
        models: the model that each is of, empty where it is of none; without any, nothing is known of what is shared.
    """
    size = np.abs(log_residuals)
    overall = max(float(np.mean(size)), _FLOOR)
    scale = np.full(len(FAMILIES), overall)
    for code in np.unique(families):
        own = size[families == code]
        scale[code] = max((own.sum() + _PULL * overall) / (len(own) + _PULL), _FLOOR)
    count = len(size)
    rank = min(math.ceil((count + 1) * COVERAGE), count)
    quantile = float(np.sort(size / scale[families])[rank - 1])
    normalised = np.clip(log_residuals / scale[families], -quantile, quantile)  # one outlier makes no model
    return Calibration(
        scale=tuple(float(value) for value in scale), quantile=quantile, shared=_shared(normalised, models)
    )


def _shared(errors: npt.NDArray[np.float64], models: Sequence[str]) -> float:
    """Variance between models over all of it, from a one-way analysis; 1 where there are too few to tell."""
    own = {name: np.array([one == name for one in models]) for name in set(models) if name}
    groups = [errors[rows] for rows in own.values()]
    count, inside = sum(map(len, groups)), sum(float(((one - one.mean()) ** 2).sum()) for one in groups)
    if len(groups) < _LEAST_MODELS or count <= len(groups) or inside == 0:
        return 1.0
    within = inside / (count - len(groups))
    mean = sum(float(one.sum()) for one in groups) / count
    between = sum(len(one) * float(one.mean() - mean) ** 2 for one in groups) / (len(groups) - 1)
    typical = (count - sum(len(one) ** 2 for one in groups) / count) / (len(groups) - 1)
    common = max((between - within) / typical, 0.0)
    return common / (common + within)
