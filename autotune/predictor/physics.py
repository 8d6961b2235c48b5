"""What physics says before any learning: by kernel family, latency is a sum of terms, pulled to the lane's roofline.

    latency = launch + FLOPs·a + bytes in·b + bytes out·c + weights·d + elements out × operators fused behind·e

Non-negative least squares on errors relative to what was measured or, where more is said, to the geometric mean of
both, reweighted towards their absolute values, so that a few wild measurements bend nothing. A family with few records
stays near the roofline of all (`prior.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES
from autotune.predictor.features import COLUMN, Matrix
from autotune.predictor.prior import ENOUGH, Roofline, class_of, family_codes, fit_roofline

Vector = npt.NDArray[np.float64]

TERMS = 6
_PULL = 2.0
"""Weight of the roofline's share of each term, in records."""
_PASSES = 8
_CLOSE = 0.03
"""Relative error under which records count alike."""
_LEAST_US = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """A lane's constants.

    Args:
        coefficients: [family of `FAMILIES`, term] µs per unit of each term.
    """

    coefficients: tuple[tuple[float, ...], ...]

    def log_us(self, rows: Matrix) -> Vector:
        """Natural logarithm of the predicted latency in µs, per row of kernel features."""
        found = np.sum(terms(rows) * np.asarray(self.coefficients)[family_codes(rows)], axis=1)
        result: Vector = np.log(np.maximum(found, _LEAST_US))
        return result


def terms(rows: Matrix) -> Vector:
    """[n, term] amounts: 1, FLOPs, bytes in, bytes out, bytes of weights, elements out of operators fused behind."""
    flops, into, out, weights = (
        np.exp2(rows[:, COLUMN[name]].astype(np.float64)) - 1
        for name in ("log_flops", "log_bytes_in", "log_bytes_out", "log_weight_bytes")
    )
    elements = out * 8 / np.maximum(rows[:, COLUMN["bits"]], 1.0)
    behind = elements * np.maximum(rows[:, COLUMN["nodes"]] - 1.0, 0.0)
    return np.column_stack([np.ones(len(rows)), flops, into, out, weights, behind])


def fit_physics(rows: Matrix, latency_us: Vector) -> Physics:
    """Constants that fit measured latencies; of more than `ENOUGH` records every second, third, … is taken."""
    roofline = fit_roofline(rows, latency_us)
    step = max(1, -(-len(rows) // ENOUGH))
    rows, latency_us = rows[::step], latency_us[::step]
    amounts, family = terms(rows), family_codes(rows)
    found = []
    for code in range(len(FAMILIES)):
        own = family == code
        found.append(_solve(amounts[own], latency_us[own], _of_roofline(roofline, code)))
    return Physics(coefficients=tuple(tuple(map(float, one)) for one in found))


def _of_roofline(roofline: Roofline, code: int) -> Vector:
    rate, byte = roofline.us_per_flop[class_of(FAMILIES[code])], roofline.us_per_byte
    result: Vector = roofline.family_factor[code] * np.array([roofline.launch_us, rate, byte, byte, byte, 0.0])
    return result


def _solve(amounts: Vector, latency_us: Vector, pulled_to: Vector) -> Vector:
    if not len(amounts):
        return pulled_to
    from scipy.optimize import nnls

    relative = amounts / latency_us[:, None]
    typical = amounts.mean(axis=0) / latency_us.mean()
    unit = np.maximum(np.maximum(relative.mean(axis=0), 1e-3 * typical), 1e-300)  # columns differ by nine orders
    root = np.sqrt(_PULL)
    found = pulled_to
    for _ in range(_PASSES):
        said = relative @ found
        scale = np.maximum(said, 1.0) ** 0.5
        weight = (np.abs(said - 1) / scale + _CLOSE) ** -0.5 / scale
        weight /= weight.mean()
        matrix = np.vstack([relative / unit * weight[:, None], root * np.eye(TERMS)])
        solution, _ = nnls(matrix, np.concatenate([weight, root * pulled_to * unit]))
        found = solution / unit
    return found
