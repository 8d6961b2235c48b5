"""Baseline: latency is linear in FLOPs and bytes, per family; what a profiler's spreadsheet would say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES, Lane
from autotune.predictor.features import Matrix, amount
from autotune.predictor.prior import family_codes

Vector = npt.NDArray[np.float64]

MIN_OF_FAMILY = 5
"""Rows under which a family takes the coefficients of all families together."""
_LEAST_US = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopsLinear:
    """Non-negative least squares on relative errors, per family."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "flops_linear"

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> LinearLane:  # noqa: ARG002
        """Coefficients per family; nothing random in it."""
        design, family = _design(rows), family_codes(rows)
        everything = _solve(design, latency_us)
        coefficients = np.tile(everything, (len(FAMILIES), 1))
        for code in np.unique(family):
            own = family == code
            if own.sum() >= MIN_OF_FAMILY:
                coefficients[code] = _solve(design[own], latency_us[own])
        return LinearLane(coefficients=coefficients)

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> LinearLane:  # noqa: ARG002
        """From the coefficients."""
        coefficients = np.array(state["coefficients"], dtype=np.float64)
        if coefficients.shape != (len(FAMILIES), 3):
            raise ValueError(f"coefficients of the shape {coefficients.shape}, expected {(len(FAMILIES), 3)}")
        return LinearLane(coefficients=coefficients)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearLane:
    """Coefficients [family, (constant in µs, µs per FLOP, µs per byte)]."""

    coefficients: Vector

    def log_us(self, rows: Matrix, lane: Lane, cores: int) -> Vector:  # noqa: ARG002
        """Natural logarithm of the latency in µs, per row of kernel features."""
        found = np.sum(_design(rows) * self.coefficients[family_codes(rows)], axis=1)
        result: Vector = np.log(np.maximum(found, _LEAST_US))
        return result

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The coefficients."""
        return {"coefficients": self.coefficients.tolist()}, {}


def _design(rows: Matrix) -> Vector:
    flops, *moved = (amount(rows, name) for name in ("log_flops", "log_bytes_in", "log_bytes_out", "log_weight_bytes"))
    return np.column_stack([np.ones(len(rows)), flops, np.sum(moved, axis=0)])


def _solve(design: Vector, latency_us: Vector) -> Vector:
    from scipy.optimize import nnls

    matrix = design / latency_us[:, None]
    unit = 1.0 / np.maximum(np.abs(matrix).max(axis=0), 1e-300)  # columns differ by nine orders of magnitude
    found, _ = nnls(matrix * unit, np.ones(len(latency_us)))
    result: Vector = found * unit
    return result
