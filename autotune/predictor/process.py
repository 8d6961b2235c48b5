"""What a family's kernels take beyond physics, smoothly: a Gaussian process where trees would make steps.

A few hundred kernels are too few for trees to find that twice the channels take twice as long less the start of a
loop; kernels that lie between known ones get what lies between. Rasmussen and Williams, "Gaussian Processes for Machine
Learning" (2006), chapters 2 and 5: Matérn-3/2, length and noise by the marginal likelihood over a grid, records far
from the others reweighted (Huber).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES
from autotune.predictor.features import COLUMN, Matrix
from autotune.predictor.prior import family_codes
from autotune.predictor.shapes import ACTIVATIONS, MAIN_OPS

Vector = npt.NDArray[np.float64]

MIN_OF_FAMILY = 12
"""Records under which physics is all that is known of a family."""
LENGTHS, NOISES = (2.0, 4.0, 8.0), (0.02, 0.1, 0.4)
"""Distance, in the units of `view`, over which kernels resemble each other; and noise over what varies."""
_PASSES = 3
_ROOT3 = 3.0**0.5
_CHUNK = 512
"""Rows at a time, so that what is computed of them stays in the second cache."""

_LOGS = (("channels_per_group", 1.0), ("c_out", 1.0), ("stride", 1.5))
_PLAIN = (
    ("log_pixels_out", 1.0), ("log_bytes_in", 0.5), ("log_bytes_out", 0.5), ("log_weight_bytes", 0.5), ("rank", 0.3),
    ("fill_c_in_16", 3.0), ("fill_c_out_16", 4.0), ("fill_c_out_64", 3.0),
)  # fmt: skip
_CAPPED = (("nodes", 0.5, 6.0), ("inputs", 0.7, 4.0))
_CODES = (("activation", 1.0, len(ACTIVATIONS)), ("main_op", 2.0, len(MAIN_OPS) + 1))


def view(rows: Matrix) -> Matrix:
    """[n, d] what decides likeness, in octaves: a factor of two in channels counts as much as another activation."""
    parts: list[npt.NDArray[Any]] = []
    parts += [weight * np.log2(np.maximum(rows[:, COLUMN[name]], 1.0))[:, None] for name, weight in _LOGS]
    window = rows[:, COLUMN["kernel_h"]] * rows[:, COLUMN["kernel_w"]]
    parts.append(np.log2(np.maximum(window, 1.0))[:, None])
    parts += [weight * rows[:, COLUMN[name]][:, None] for name, weight in _PLAIN]
    parts += [weight * np.minimum(rows[:, COLUMN[name]], most)[:, None] for name, weight, most in _CAPPED]
    parts += [
        weight * np.eye(count, dtype=np.float32)[rows[:, COLUMN[n]].astype(np.intp)] for n, weight, count in _CODES
    ]
    return np.hstack(parts).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FamilyProcess:
    """Of one family.

    Args:
        length: over which kernels resemble each other.
        typical: [d] view of one known kernel.
        varying: [v] columns in which known kernels differ; in the others, all are as far from a new one as `typical`.
        known: [n, v] the known kernels there, in lengths.
        weights: [n] of the known kernels.
        level: of a kernel that resembles none.
    """

    length: float
    typical: Matrix
    varying: npt.NDArray[np.intp]
    known: Matrix
    weights: npt.NDArray[np.float32]
    level: float

    def values(self, seen: Matrix) -> Vector:
        """[m] what is to be added to the logarithm, for views [m, d]."""
        found = np.empty(len(seen))
        squares = (self.known * self.known).sum(axis=1)
        for begin in range(0, len(seen), _CHUNK):
            away = (seen[begin : begin + _CHUNK] - self.typical) / np.float32(self.length)
            own = seen[begin : begin + _CHUNK, self.varying] / np.float32(self.length)
            far = (away * away).sum(axis=1) - (away[:, self.varying] ** 2).sum(axis=1) + (own * own).sum(axis=1)
            found[begin : begin + _CHUNK] = _matern(far[:, None] + squares - 2 * own @ self.known.T) @ self.weights
        return found + self.level

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For a file."""
        return {
            "typical": self.typical,
            "varying": self.varying,
            "known": self.known,
            "weights": self.weights,
            "numbers": np.array([self.length, self.level]),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Process:
    """By family; none for families of which too little is known."""

    families: Mapping[str, FamilyProcess]

    def log_factor(self, rows: Matrix) -> Vector:
        """What is to be added to the logarithm of what physics says, per row of kernel features."""
        result = np.zeros(len(rows))
        if not self.families or not len(rows):
            return result
        codes = family_codes(rows)
        for name, process in self.families.items():
            own = codes == FAMILIES.index(name)
            if own.any():
                result[own] = process.values(view(rows[own]))
        return result

    def dump(self) -> bytes:
        """NumPy's npz."""
        target = io.BytesIO()
        arrays = {
            f"{name}.{part}": array for name, one in self.families.items() for part, array in one.arrays().items()
        }
        np.savez_compressed(target, allow_pickle=False, **arrays)
        return target.getvalue()

    @staticmethod
    def read(file: bytes) -> Process:
        """The inverse of `dump`; KeyError or ValueError where that is not possible."""
        families = {}
        with np.load(io.BytesIO(file), allow_pickle=False) as arrays:
            for name in FAMILIES:
                if f"{name}.known" in arrays:
                    length, level = arrays[f"{name}.numbers"].tolist()
                    families[name] = FamilyProcess(
                        length=length,
                        typical=arrays[f"{name}.typical"],
                        varying=arrays[f"{name}.varying"],
                        known=arrays[f"{name}.known"],
                        weights=arrays[f"{name}.weights"],
                        level=level,
                    )
        return Process(families=families)


def fit_process(rows: Matrix, left: Vector, *, most: int) -> Process:
    """From what physics leaves over (log measured less log physics); families of more than `most` rows get none."""
    codes = family_codes(rows)
    families = {}
    for code in np.unique(codes):
        own = codes == code
        if MIN_OF_FAMILY <= own.sum() <= most:
            families[FAMILIES[code]] = _fit(view(rows[own]), left[own])
    return Process(families=families)


def _fit(seen: Matrix, left: Vector) -> FamilyProcess:
    level = float(np.median(left))
    centred = left - level
    size = max(1.4826 * float(np.median(np.abs(centred))), 0.05)
    clipped = np.clip(centred, -4 * size, 4 * size)
    varying = np.flatnonzero(np.ptp(seen, axis=0) > 0)
    distances = _squares(seen[:, varying])
    found = [
        (_likelihood(_matern(distances / length**2), clipped / size, noise), length, noise)
        for length in LENGTHS
        for noise in NOISES
    ]
    _, length, noise = max(found)
    shared = _matern(distances / length**2)
    weight = np.ones(len(left))
    solution = np.zeros(len(left))
    for _ in range(_PASSES):
        inverse = np.linalg.inv(shared + np.diag(noise / weight))
        solution = inverse @ centred
        off = np.abs(solution / np.diag(inverse))  # of each, predicted by the others (Rasmussen and Williams, 5.4.2)
        weight = np.minimum(1.0, 2 * (1.4826 * float(np.median(off)) + 0.01) / np.maximum(off, 1e-9))
    return FamilyProcess(
        length=length,
        typical=seen[0],
        varying=varying,
        known=seen[:, varying] / np.float32(length),
        weights=solution.astype(np.float32),
        level=level,
    )


def _likelihood(shared: Vector, values: Vector, noise: float) -> float:
    """Logarithm of the marginal likelihood, but for a constant."""
    from scipy.linalg import cho_solve, cholesky

    lower = cholesky(shared + noise * np.eye(len(values)), lower=True)
    return -0.5 * float(values @ cho_solve((lower, True), values)) - float(np.log(np.diag(lower)).sum())


def _squares(seen: Matrix) -> Vector:
    """[n, n] squared distances."""
    wide = seen.astype(np.float64)
    size = (wide * wide).sum(axis=1)
    result: Vector = size[:, None] + size - 2 * wide @ wide.T
    return result


def _matern(squares: npt.NDArray[Any]) -> npt.NDArray[Any]:
    scaled = _ROOT3 * np.sqrt(np.maximum(squares, 0.0))
    result: npt.NDArray[Any] = (1 + scaled) * np.exp(-scaled)
    return result
