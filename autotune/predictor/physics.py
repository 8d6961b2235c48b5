"""What physics says before any learning: latency is a sum of terms, pulled to the lane's roofline.

    latency = launch + FLOPs·a + bytes in·b + bytes out·c + weights·d
              + elements out × light operators fused behind·e + elements out × exponentials fused behind·f

Constants by main operator, pulled to those of its kernel family, which are pulled to the roofline of all (`prior.py`).
Non-negative least squares on errors relative to what was measured or, where more is said, to the geometric mean of
both, reweighted towards their absolute values, so that a few wild measurements bend nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES
from autotune.predictor.features import COLUMN, Matrix
from autotune.predictor.prior import ENOUGH, Roofline, class_of, family_codes, fit_roofline
from autotune.predictor.shapes import ACTIVATIONS, MAIN_OPS

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

TERMS = 7
_EXPONENTIAL = [ACTIVATIONS.index(name) for name in ("silu", "sigmoid", "tanh", "gelu", "hard", "other")]
"""Activations that cost as much as some convolutions; others are fused into the loop before them."""
_PULL = 2.0
"""Weight of what constants are pulled to, for each term, in records."""
_LEAST_OWN = 3
"""Records of a main operator, under which it has the constants of its family."""
_PASSES = 8
_CLOSE = 0.03
"""Relative error under which records count alike."""
_LEAST_US = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """A lane's constants.

    Args:
        coefficients: [family of `FAMILIES`, term] µs per unit of each term.
        operators: codes of the family and main operator pairs that have constants of their own, rising.
        own: [pair, term] theirs.
    """

    coefficients: tuple[tuple[float, ...], ...]
    operators: tuple[int, ...] = ()
    own: tuple[tuple[float, ...], ...] = ()

    def log_us(self, rows: Matrix) -> Vector:
        """Natural logarithm of the predicted latency in µs, per row of kernel features."""
        found = np.sum(terms(rows) * self._constants(rows), axis=1)
        result: Vector = np.log(np.maximum(found, _LEAST_US))
        return result

    def _constants(self, rows: Matrix) -> Vector:
        """[n, term] those of each row."""
        constants = np.asarray(self.coefficients)[family_codes(rows)]
        if self.operators:
            codes, known = _pairs(rows), np.asarray(self.operators)
            at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
            constants = np.where((known[at] == codes)[:, None], np.asarray(self.own)[at], constants)
        return constants


def _pairs(rows: Matrix) -> Codes:
    """[n] a number for the family and main operator of each row."""
    pairs: Codes = family_codes(rows) * (len(MAIN_OPS) + 1) + rows[:, COLUMN["main_op"]].astype(np.intp)
    return pairs


def terms(rows: Matrix) -> Vector:
    """[n, term] amounts: 1, FLOPs, bytes in, bytes out, bytes of weights, elements out of operators fused behind.

    Of these the last term counts one where an exponential is among them, the term before it the others.
    """
    flops, into, out, weights = (
        np.exp2(rows[:, COLUMN[name]].astype(np.float64)) - 1
        for name in ("log_flops", "log_bytes_in", "log_bytes_out", "log_weight_bytes")
    )
    elements = out * 8 / np.maximum(rows[:, COLUMN["bits"]], 1.0)
    exponential = np.isin(rows[:, COLUMN["activation"]], _EXPONENTIAL)
    behind = elements * np.maximum(rows[:, COLUMN["nodes"]] - 1.0 - exponential, 0.0)
    return np.column_stack([np.ones(len(rows)), flops, into, out, weights, behind, elements * exponential])


def fit_physics(rows: Matrix, latency_us: Vector) -> Physics:
    """Constants that fit measured latencies; of more than `ENOUGH` records every second, third, … is taken."""
    roofline = fit_roofline(rows, latency_us)
    step = max(1, -(-len(rows) // ENOUGH))
    rows, latency_us = rows[::step], latency_us[::step]
    amounts, family, pairs = terms(rows), family_codes(rows), _pairs(rows)

    def solved(of: npt.NDArray[np.bool_], pulled_to: Vector) -> Vector:
        return _solve(amounts[of], latency_us[of], pulled_to)

    families = [solved(family == code, _of_roofline(roofline, code)) for code in range(len(FAMILIES))]
    codes, first, count = np.unique(pairs, return_index=True, return_counts=True)
    enough = count >= _LEAST_OWN
    own = [solved(pairs == pairs[at], families[family[at]]) for at in first[enough]]
    return Physics(coefficients=_numbers(families), operators=tuple(map(int, codes[enough])), own=_numbers(own))


def _numbers(constants: list[Vector]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, one)) for one in constants)


def _of_roofline(roofline: Roofline, code: int) -> Vector:
    rate, byte = roofline.us_per_flop[class_of(FAMILIES[code])], roofline.us_per_byte
    result: Vector = roofline.family_factor[code] * np.array([roofline.launch_us, rate, byte, byte, byte, 0.0, 0.0])
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
