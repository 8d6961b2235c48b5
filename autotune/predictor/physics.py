"""What physics says before any learning: latency is a sum of terms, pulled to the lane's roofline.

    latency = launch + FLOPs·a + bytes in·b + bytes out·c + weights·d
              + elements out × light operators fused behind·e + elements out × exponentials fused behind·f
              + bytes that come from memory·g

What a kernel touches comes from memory where the last cache does not hold it; of a kernel that computes much the
processor fetches it in the meantime. How much the cache holds is learnt too: a virtual machine shares it.

Constants by main operator, pulled to those of its kernel family, which are pulled to the roofline of all (`prior.py`).
Non-negative least squares on errors relative to what was measured or, where more is said, to the geometric mean of
both, reweighted towards their absolute values, so that a few wild measurements bend nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES
from autotune.predictor.features import COLUMN, Matrix
from autotune.predictor.prior import ENOUGH, Roofline, class_of, family_codes, fit_roofline
from autotune.predictor.shapes import ACTIVATIONS, MAIN_OPS

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

TERMS = 8
_EXPONENTIAL = [ACTIVATIONS.index(name) for name in ("silu", "sigmoid", "tanh", "gelu", "hard", "other")]
"""Activations that cost as much as some convolutions; others are fused into the loop before them."""
_LIGHT = np.isin(FAMILIES, ("data_movement", "elementwise", "normalisation", "pooling", "other"))
_FEW_ROWS = 16
"""Rows of a product up to which reading its weights takes longer than computing with them."""
_COPIES = 4
"""How often a kernel's weights are in the cache at once: it is timed as copies in a row (`profiler/probes.py`)."""
CACHES = (8 * 2**20, 16 * 2**20, 32 * 2**20, 64 * 2**20, 128 * 2**20)
"""Bytes that a lane's last cache may hold."""
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
        cache_bytes: what the last cache holds; 0: not known, everything comes from where it always does.
        least_us: what the fastest kernel takes that was learnt from, a view of another shape say: none takes less.
    """

    coefficients: tuple[tuple[float, ...], ...]
    operators: tuple[int, ...] = ()
    own: tuple[tuple[float, ...], ...] = ()
    cache_bytes: int = 0
    least_us: float = _LEAST_US

    def log_us(self, rows: Matrix) -> Vector:
        """Natural logarithm of the predicted latency in µs, per row of kernel features."""
        found = np.sum(terms(rows, self.cache_bytes) * self._constants(rows), axis=1)
        result: Vector = np.log(np.maximum(found, max(self.least_us, _LEAST_US)))
        return result

    @property
    def least_log_us(self) -> float:
        """Natural logarithm of the least latency in µs that is predicted."""
        return math.log(self.least_us)

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


def terms(rows: Matrix, cache_bytes: int = 0) -> Vector:
    """[n, term] amounts of each kernel: 1, FLOPs, bytes in, bytes out, bytes of weights, and three more.

    Elements out of operators fused behind: first of light ones, then one where an exponential is among them. Bytes that
    come from memory: none while what is touched fits into half of `cache_bytes`, all of them beyond the whole.
    """
    flops, into, out, weights = (
        np.exp2(rows[:, COLUMN[name]].astype(np.float64)) - 1
        for name in ("log_flops", "log_bytes_in", "log_bytes_out", "log_weight_bytes")
    )
    elements = out * 8 / np.maximum(rows[:, COLUMN["bits"]], 1.0)
    exponential = np.isin(rows[:, COLUMN["activation"]], _EXPONENTIAL)
    behind = elements * np.maximum(rows[:, COLUMN["nodes"]] - 1.0 - exponential, 0.0)
    amounts = [np.ones(len(rows)), flops, into, out, weights, behind, elements * exponential]
    return np.column_stack([*amounts, _from_memory(rows, into + out, weights, cache_bytes)])


def _from_memory(rows: Matrix, activations: Vector, weights: Vector, cache_bytes: int) -> Vector:
    """[n] bytes that a kernel waits for; of a table only those count that it reads, which are as many as it writes."""
    few = (rows[:, COLUMN["family_matmul"]] > 0) & (rows[:, COLUMN["h_out"]] <= _FEW_ROWS)
    waits = _LIGHT[family_codes(rows)] | few
    if not cache_bytes:
        return np.zeros(len(rows))
    read = weights * few
    touched = np.maximum(activations + _COPIES * read, 1.0)
    result: Vector = (activations + read) * waits * np.clip(np.log2(touched / cache_bytes) + 1.0, 0.0, 1.0)
    return result


def fit_physics(rows: Matrix, latency_us: Vector) -> Physics:
    """Constants that fit measured latencies; of more than `ENOUGH` records every second, third, … is taken."""
    roofline = fit_roofline(rows, latency_us)
    step = max(1, -(-len(rows) // ENOUGH))
    rows, latency_us = rows[::step], latency_us[::step]
    family, pairs = family_codes(rows), _pairs(rows)

    def by_family(amounts: Vector) -> list[Vector]:
        return [
            _solve(amounts[family == code], latency_us[family == code], _of_roofline(roofline, code))
            for code in range(len(FAMILIES))
        ]

    tried = [(size, terms(rows, size)) for size in (0, *CACHES)]
    solved = [(size, amounts, by_family(amounts)) for size, amounts in tried if not size or amounts[:, -1].any()]
    off = [_off(amounts, np.array(found)[family], latency_us) for _, amounts, found in solved]
    cache_bytes, amounts, families = solved[int(np.argmin(off))]
    codes, first, count = np.unique(pairs, return_index=True, return_counts=True)
    enough = count >= _LEAST_OWN
    own = [
        _solve(amounts[pairs == code], latency_us[pairs == code], families[family[at]])
        for code, at in zip(codes[enough], first[enough], strict=True)
    ]
    return Physics(
        coefficients=_numbers(families),
        operators=tuple(map(int, codes[enough])),
        own=_numbers(own),
        cache_bytes=cache_bytes,
        least_us=float(latency_us.min()) if len(latency_us) else _LEAST_US,
    )


def _off(amounts: Vector, constants: Vector, latency_us: Vector) -> float:
    """How far physics is off, in the mean; what is off by more than a factor of e counts as that."""
    logs = np.log(np.maximum(np.sum(amounts * constants, axis=1), _LEAST_US) / latency_us)
    return float(np.minimum(np.abs(logs), 1.0).mean())


def _numbers(constants: list[Vector]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, one)) for one in constants)


def _of_roofline(roofline: Roofline, code: int) -> Vector:
    rate, byte = roofline.us_per_flop[class_of(FAMILIES[code])], roofline.us_per_byte
    result: Vector = roofline.family_factor[code] * np.array(
        [roofline.launch_us, rate, byte, byte, byte, 0.0, 0.0, 0.0]
    )
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
