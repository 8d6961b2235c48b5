"""Intervals that hold as often as they say, whatever the model: cross-conformal with normalised residuals.

Vovk, "Cross-conformal predictors" (2015); normalisation as in Lei et al., "Distribution-free predictive inference for
regression" (JASA 2018, section 5.2), with a scale per kernel family. Folds are whole models of the zoo, so that the
residuals are those of kernels of a model never seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES

COVERAGE = 0.9
_PULL = 10.0
_FLOOR = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Half width of a 90 % interval in log space.

    Args:
        scale: typical absolute residual per family of `FAMILIES`.
        quantile: how many scales the interval reaches to either side.
    """

    scale: tuple[float, ...]
    quantile: float

    def factor(self, families: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Upper end over median, per row of family codes; at least 1."""
        result: npt.NDArray[np.float64] = np.exp(np.minimum(self.quantile * np.asarray(self.scale)[families], 20.0))
        return result


def calibrate(log_residuals: npt.NDArray[np.float64], families: npt.NDArray[np.intp]) -> Calibration:
    """From out-of-fold residuals log(measured / predicted)."""
    size = np.abs(log_residuals)
    overall = max(float(np.mean(size)), _FLOOR)
    scale = np.full(len(FAMILIES), overall)
    for code in np.unique(families):
        own = size[families == code]
        scale[code] = max((own.sum() + _PULL * overall) / (len(own) + _PULL), _FLOOR)
    count = len(size)
    rank = min(math.ceil((count + 1) * COVERAGE), count)
    quantile = float(np.sort(size / scale[families])[rank - 1])
    return Calibration(scale=tuple(float(value) for value in scale), quantile=quantile)
