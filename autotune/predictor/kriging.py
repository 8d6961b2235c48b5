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
from typing import Any

import numpy as np
import numpy.typing as npt

from autotune.predictor.features import COLUMN, Matrix
from autotune.predictor.prior import LIGHT, family_codes

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]


KINDS = ("compute", "move bytes")
"""What kernels do (`prior.LIGHT`); those of one kind say nothing of the other's. What follows has an entry for each,
the likeliest over synthetic kernels (`benchmarks/likeness.py`)."""
COUNTS = {
    "n": (0.04, 0.13), "c_in": (0.14, 0.17), "h_in": (0.07, 0.68), "w_in": (0.23, 0.70), "c_out": (0.10, 0.18),
    "h_out": (0.07, 0.34), "w_out": (1.68, 0.47), "kernel_h": (0.07, 1.18), "kernel_w": (0.08, 0.96),
    "stride": (0.18, 0.32), "groups": (3.16, 1.00), "dilation": (0.14, 1.00), "channels_per_group": (0.17, 0.19),
    "outputs_per_group": (0.12, 0.21), "reduction": (0.18, 0.20), "nodes": (0.11, 6.80), "inputs": (0.06, 0.28),
}  # fmt: skip
"""Features of which the logarithm counts, and how much: of a spread of the feature, in units of `LENGTH`."""
OTHERS = {
    "log_flops": (0.93, 0.60), "log_bytes_in": (0.85, 1.21), "log_bytes_out": (0.58, 0.33),
    "log_weight_bytes": (4.25, 0.44), "log_intensity": (5.02, 4.24), "log_pixels_out": (0.18, 0.95),
    "fill_c_in_16": (4.45, 6.61), "fill_c_out_16": (5.33, 4.08), "fill_c_out_64": (0.39, 0.13), "log_run": (1.00, 1.58),
}  # fmt: skip
"""Features that count as they are, and how much."""
APART = ((5.19, 0.17, 0.24), (0.44, 1.70, 0.64))
"""How far apart another family, main operator and activation put two kernels."""
NOISE = (0.0205, 0.0576)
"""Variance of a record's logarithm, over that of what physics leaves over: what another measurement, and what features
do not show, changes."""
LENGTH = 4.0
"""Distance over which kernels are alike, in spreads of a feature that counts 1."""
LEAST_SPREAD = 0.3
"""Of a feature, in octaves: one that hardly varies among the records does not set them apart."""
PASSES = 2
"""Rounds of weighing records anew."""
_OUTLIER, _CLOSE = 4.0, 0.02
_ROWS = 512
"""Kernels that are predicted at once: their covariances stay in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Measured kernels of one kind and what each adds to those like it.

    Args:
        kind: position in `KINDS`.
        scale: [D] how much each feature counts, over its spread.
        codes: the families, main operators and activations that there are, by code.
        points: [n, E] measured kernels, embedded.
        weights: [n] what each adds, in natural logarithms.
    """

    kind: int
    scale: Matrix
    codes: tuple[Codes, Codes, Codes]
    points: Matrix
    weights: Matrix

    def log_factor(self, rows: Matrix) -> Vector:
        """Natural logarithm of measured over prior latency, per row of kernel features."""
        found, right = np.empty(len(rows)), _for_pairs(self.points)
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            found[part] = _covariance(_embed(rows[part], self.kind, self.scale, self.codes), right) @ self.weights
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kriging:
    """What is known of a lane.

    Args:
        measured: kernels of each kind of which any were measured.
    """

    measured: tuple[Measured, ...]

    def log_factor(self, rows: Matrix) -> Vector:
        """Natural logarithm of measured over prior latency, per row of kernel features; 0 of a kind not measured."""
        found, kind = np.zeros(len(rows)), kind_of(rows)
        for one in self.measured:
            own = kind == one.kind
            found[own] = one.log_factor(rows[own])
        return found

    def dump(self) -> bytes:
        """NumPy's npz."""
        arrays: dict[str, Any] = {
            f"{name}_{one.kind}": array
            for one in self.measured
            for name, array in zip(_ARRAYS, (*one.codes, one.scale, one.points, one.weights), strict=True)
        }
        target = io.BytesIO()
        np.savez(target, allow_pickle=False, **arrays)
        return target.getvalue()

    @classmethod
    def read(cls, content: bytes) -> Kriging:
        """The inverse of `dump`; ValueError or KeyError where that is not possible."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                known = [at for at in range(len(KINDS)) if any(name.endswith(f"_{at}") for name in arrays)]
                return cls(measured=tuple([_read(at, *(arrays[f"{name}_{at}"] for name in _ARRAYS)) for at in known]))
        except (EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"the like kernels cannot be read: {error}") from error


_ARRAYS = ("families", "main", "activations", "scale", "points", "weights")


def _read(kind: int, families: Codes, main: Codes, activations: Codes, *arrays: Matrix) -> Measured:
    scale, points, weights = arrays
    codes = (families, main, activations)
    return Measured(kind=kind, codes=codes, scale=scale, points=points, weights=weights)


def kind_of(rows: Matrix) -> Codes:
    """[N] position in `KINDS`."""
    found: Codes = LIGHT[family_codes(rows)].astype(np.intp)
    return found


def krige(rows: Matrix, log_factor: Vector, *, most: int) -> tuple[Kriging, Vector]:
    """Learn from like kernels, and what they leave over of each that was learnt from.

    Args:
        rows: [N] kernel features.
        log_factor: [N] natural logarithm of measured over prior latency.
        most: kernels of a kind that are learnt from; of more every second, third, … is taken (time grows with the
            cube).

    Returns:
        What was learnt, and [N] what remains of `log_factor` where a kernel is predicted by the others (leave-one-out,
        in closed form; Rasmussen and Williams 2006, 5.4.2): what can be learnt on top without learning noise twice.
    """
    found, remainder, kinds = [], log_factor.copy(), kind_of(rows)
    spread = np.maximum(coordinates(rows).std(axis=0), LEAST_SPREAD)
    for kind in np.unique(kinds).tolist():
        own = kinds == kind
        measured, remainder[own] = _krige(rows[own], log_factor[own], spread, kind=kind, most=most)
        found.append(measured)
    return Kriging(measured=tuple(found)), remainder


def _krige(rows: Matrix, log_factor: Vector, spread: Vector, *, kind: int, most: int) -> tuple[Measured, Vector]:
    from scipy.linalg import cho_factor, cho_solve, lapack

    own = np.arange(0, len(rows), -(-len(rows) // most))
    counting = np.array([counts[kind] for counts in (*COUNTS.values(), *OTHERS.values())])
    scale = (counting / spread).astype(np.float32)
    families, main, activations = codes_of(rows[own])
    codes = np.unique(families), np.unique(main), np.unique(activations)
    points = _embed(rows[own], kind, scale, codes)
    covariance, target = _covariance(points, _for_pairs(points)).astype(np.float64), log_factor[own]
    trust = np.ones(len(own))
    for left in range(PASSES, -1, -1):
        factor, _ = cho_factor(covariance + np.diag(NOISE[kind] / trust), lower=True)
        weights = cho_solve((factor, True), target)
        alone = weights / np.diag(lapack.dpotri(factor, lower=True)[0])  # over the inverse's diagonal
        if left:
            trust = trust_of(alone)
    found = Measured(kind=kind, scale=scale, codes=codes, points=points, weights=weights.astype(np.float32))
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


def codes_of(rows: Matrix) -> tuple[Codes, Codes, Codes]:
    """[N] family, main operator and activation of each."""
    main, activation = (rows[:, COLUMN[name]].astype(np.intp) for name in ("main_op", "activation"))
    return family_codes(rows), main, activation


def _embed(rows: Matrix, kind: int, scale: Matrix, codes: tuple[Codes, Codes, Codes]) -> Matrix:
    """[N, E] points whose distances say how unlike kernels are; at a distance of 1 their covariance has fallen much."""
    parts = [coordinates(rows) * scale]
    parts += [
        np.where(own[:, None] == known, np.float32(apart), np.float32(0.0))
        for own, known, apart in zip(codes_of(rows), codes, APART[kind], strict=True)
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
