"""What like kernels say: kriging of what physics leaves over.

Gaussian process regression with a Matérn 3/2 covariance (Matheron 1963; Rasmussen and Williams 2006, chapters 2 and 5)
over the logarithms of a kernel's dimensions and what it is made of. Between measured kernels it interpolates smoothly,
far from all of them it says nothing: the prior stays as it is. Few hundred records are too few for trees to do either.
Records that no other bears out weigh less (iteratively reweighted).
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.predictor.features import COLUMN, Matrix
from autotune.predictor.prior import family_codes

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

COUNTS = {
    "n": 0.15, "c_in": 0.37, "h_in": 0.41, "w_in": 1.30, "c_out": 0.24, "h_out": 0.34, "w_out": 1.69,
    "kernel_h": 0.11, "kernel_w": 0.12, "stride": 0.14, "groups": 3.37, "dilation": 0.20, "channels_per_group": 0.63,
    "outputs_per_group": 0.28, "reduction": 1.02, "nodes": 0.09, "inputs": 0.07,
}  # fmt: skip
"""Features of which the logarithm counts, and how much: of a spread of the feature, in units of `LENGTH`."""
OTHERS = {
    "log_flops": 1.79, "log_bytes_in": 0.34, "log_bytes_out": 0.43, "log_weight_bytes": 0.81, "log_intensity": 3.11,
    "log_pixels_out": 0.34, "fill_c_in_16": 1.95, "fill_c_out_16": 3.94, "fill_c_out_64": 0.22,
}  # fmt: skip
"""Features that count as they are, and how much."""
APART = (2.32, 0.56, 0.1)
"""How far apart another family, main operator and activation put two kernels.

All of these are the likeliest over synthetic kernels of two runs (`benchmarks/likeness.py`).
"""
LENGTH = 4.0
"""Distance over which kernels are alike, in spreads of a feature that counts 1."""
NOISE = 0.01
"""Variance of a record's logarithm: what another measurement, and what features do not show, changes (some 10 %)."""
LEAST_SPREAD = 0.3
"""Of a feature, in octaves: one that hardly varies among the records does not set them apart."""
PASSES = 2
"""Rounds of weighing records anew."""
_OUTLIER, _CLOSE = 4.0, 0.02
_ROWS = 512
"""Kernels that are predicted at once: their covariances stay in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kriging:
    """A lane's measured kernels and what each adds to those like it.

    Args:
        scale: [D] how much each feature counts, over its spread.
        kinds: the families, main operators and activations that there are, by code.
        points: [n, E] measured kernels, embedded.
        weights: [n] what each adds, in natural logarithms.
    """

    scale: Matrix
    kinds: tuple[Codes, Codes, Codes]
    points: Matrix
    weights: Matrix

    def log_factor(self, rows: Matrix) -> Vector:
        """Natural logarithm of measured over prior latency, per row of kernel features."""
        found, right = np.empty(len(rows)), _for_pairs(self.points)
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            found[part] = _covariance(_embed(rows[part], self.scale, self.kinds), right) @ self.weights
        return found

    def dump(self) -> bytes:
        """NumPy's npz."""
        families, main, activations = self.kinds
        arrays = {"families": families, "main": main, "activations": activations}
        target = io.BytesIO()
        np.savez(target, allow_pickle=False, scale=self.scale, points=self.points, weights=self.weights, **arrays)
        return target.getvalue()

    @classmethod
    def read(cls, content: bytes) -> Kriging:
        """The inverse of `dump`; ValueError or KeyError where that is not possible."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                kinds = (arrays["families"], arrays["main"], arrays["activations"])
                return cls(scale=arrays["scale"], kinds=kinds, points=arrays["points"], weights=arrays["weights"])
        except (EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"the like kernels cannot be read: {error}") from error


def krige(rows: Matrix, log_factor: Vector, *, most: int) -> tuple[Kriging, Vector]:
    """Learn from like kernels, and what they leave over of each that was learnt from.

    Args:
        rows: [N] kernel features.
        log_factor: [N] natural logarithm of measured over prior latency.
        most: kernels that are learnt from; of more every second, third, … is taken (time grows with the cube).

    Returns:
        What was learnt, and [N] what remains of `log_factor` where a kernel is predicted by the others (leave-one-out,
        in closed form; Rasmussen and Williams 2006, 5.4.2): what can be learnt on top without learning noise twice.
    """
    from scipy.linalg import cho_factor, cho_solve, lapack

    own = np.arange(0, len(rows), -(-len(rows) // most))
    features = coordinates(rows[own])
    counting = np.array([*COUNTS.values(), *OTHERS.values()])
    scale = (counting / np.maximum(features.std(axis=0), LEAST_SPREAD)).astype(np.float32)
    families, main, activations = kinds_of(rows[own])
    kinds = np.unique(families), np.unique(main), np.unique(activations)
    points = _embed(rows[own], scale, kinds)
    covariance, target = _covariance(points, _for_pairs(points)).astype(np.float64), log_factor[own]
    trust = np.ones(len(own))
    for left in range(PASSES, -1, -1):
        factor, _ = cho_factor(covariance + np.diag(NOISE / trust), lower=True)
        weights = cho_solve((factor, True), target)
        alone = weights / np.diag(lapack.dpotri(factor, lower=True)[0])  # over the inverse's diagonal
        if left:
            trust = trust_of(alone)
    found = Kriging(scale=scale, kinds=kinds, points=points, weights=weights.astype(np.float32))
    remainder = log_factor - found.log_factor(rows) if len(own) < len(rows) else np.empty(len(rows))
    remainder[own] = alone
    return found, remainder


def trust_of(alone: Vector) -> Vector:
    """[N] how far each record is believed, from what the others leave over of it (`krige`)."""
    off = np.abs(alone)
    found: Vector = np.maximum(1.0, off / (_OUTLIER * np.median(off) + _CLOSE)) ** -4
    return found


def coordinates(rows: Matrix) -> Matrix:
    """[N, D] what is looked at smoothly."""
    return np.hstack([np.log2(rows[:, _COUNTS] + 1.0), rows[:, _OTHERS]])


_COUNTS, _OTHERS = ([COLUMN[name] for name in names] for names in (COUNTS, OTHERS))


def kinds_of(rows: Matrix) -> tuple[Codes, Codes, Codes]:
    """[N] family, main operator and activation of each."""
    main, activation = (rows[:, COLUMN[name]].astype(np.intp) for name in ("main_op", "activation"))
    return family_codes(rows), main, activation


def _embed(rows: Matrix, scale: Matrix, kinds: tuple[Codes, Codes, Codes]) -> Matrix:
    """[N, E] points whose distances say how unlike kernels are; at a distance of 1 their covariance has fallen much."""
    parts = [coordinates(rows) * scale]
    parts += [
        np.where(own[:, None] == known, np.float32(apart), np.float32(0.0))
        for own, known, apart in zip(kinds_of(rows), kinds, APART, strict=True)
    ]
    found: Matrix = np.hstack(parts) * np.float32(np.sqrt(3.0) / LENGTH)
    return found


def _for_pairs(points: Matrix) -> Matrix:
    """[M, E + 2] right sides of `_covariance`: a product with them gives the squares of all distances."""
    return np.column_stack([points, np.ones(len(points), dtype=np.float32), np.einsum("ij,ij->i", points, points)])


def _covariance(left: Matrix, right: Matrix) -> Matrix:
    """[N, M] Matérn 3/2 of points with what `_for_pairs` made of others."""
    squares, ones = np.einsum("ij,ij->i", left, left), np.ones(len(left), dtype=np.float32)
    distance: Matrix = np.column_stack([-2.0 * left, squares, ones]) @ right.T
    np.sqrt(np.maximum(distance, 0.0, out=distance), out=distance)
    found: Matrix = np.exp(-distance)
    distance += 1.0
    found *= distance
    return found
