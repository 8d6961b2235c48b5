"""A known latency corrected for where it is not known: level, slope and one step per kernel family.

Ridge regression on natural logarithms with Huber's weights, so that a few records are enough and a few wild ones bend
little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES
from autotune.predictor.features import Matrix
from autotune.predictor.prior import family_codes

Vector = npt.NDArray[np.float64]

_PENALTY = np.array([0.01, 0.5, *[1.0] * len(FAMILIES)])
"""Of level, slope and family steps, in records: the level is learnt from the first one, the others need several."""
_PASSES, _HUBER = 4, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """From what is known, for instance of another device.

    Args:
        centre: log latency at which the slope turns.
        solution: level, slope, one step per family.
    """

    centre: float
    solution: Vector

    def __post_init__(self) -> None:
        """ValueError where the solution has other coefficients."""
        if self.solution.shape != _PENALTY.shape:
            raise ValueError(f"{len(self.solution)} coefficients, {len(_PENALTY)} expected")

    def log_us(self, known: Vector, rows: Matrix) -> Vector:
        """Natural logarithm of the latency in µs, per row of kernel features whose known logarithms are `known`."""
        result: Vector = known + _design(rows, known - self.centre) @ self.solution
        return result


def corrected(known: Vector, rows: Matrix, log_us: Vector) -> Correction:
    """Learn it from kernels that were measured: `known` and `log_us` are natural logarithms of latencies in µs."""
    centre = float(known.mean())
    design, rest = _design(rows, known - centre), log_us - known
    trust: Vector = np.ones(len(rows))
    solution: Vector = np.zeros(len(_PENALTY))
    for _ in range(_PASSES):
        weighted = design.T * trust
        solution = np.asarray(np.linalg.solve(weighted @ design + np.diag(_PENALTY), weighted @ rest))
        trust = np.minimum(1.0, _HUBER / np.maximum(np.abs(rest - design @ solution), 1e-12))
    return Correction(centre=centre, solution=solution)


def _design(rows: Matrix, slope: Vector) -> Vector:
    steps = family_codes(rows)[:, None] == np.arange(len(FAMILIES))
    return np.column_stack([np.ones(len(rows)), slope, steps.astype(np.float64)])
