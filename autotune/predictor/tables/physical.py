"""The prior: per family, latency as a non-negative sum of physical terms (a roofline without the maximum)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autotune.predictor.tables.operators import Matrix, OperatorTable, Vector

MIN_OF_FAMILY = 8
"""Rows under which a family takes the coefficients of all rows together."""
_ROUNDS = 8
_CLOSE = 0.03
"""Relative error under which rows count alike: reweighting comes near to the least relative absolute error."""
_LEAST_US = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhysicalPrior:
    """Coefficients per family, µs per unit of each term.

    Args:
        coefficients: family -> [t].
        everything: [t] for families that were not seen.
    """

    coefficients: Mapping[str, Vector]
    everything: Vector

    def log_us(self, table: OperatorTable) -> Vector:
        """[n] natural logarithm of the prior latency in µs."""
        result = np.zeros(len(table))
        for family in np.unique(table.family):
            own = table.family == family
            result[own] = table.terms[own] @ self.coefficients.get(str(family), self.everything)
        logs: Vector = np.log(np.maximum(result, _LEAST_US))
        return logs


def fit_prior(table: OperatorTable, latency_us: Vector) -> PhysicalPrior:
    """Non-negative least squares on relative errors, reweighted towards their absolute values."""
    everything = _solve(table.terms, latency_us)
    coefficients = {}
    for family in np.unique(table.family):
        own = table.family == family
        if own.sum() >= MIN_OF_FAMILY:
            coefficients[str(family)] = _solve(table.terms[own], latency_us[own])
    return PhysicalPrior(coefficients=coefficients, everything=everything)


def _solve(terms: Matrix, latency_us: Vector) -> Vector:
    from scipy.optimize import nnls

    relative = terms / latency_us[:, None]
    unit = np.maximum(relative.mean(axis=0), 1e-300)  # columns differ by many orders of magnitude
    scaled = relative / unit
    found = nnls(scaled, np.ones(len(latency_us)))[0]
    for _ in range(_ROUNDS):
        weight = (np.abs(scaled @ found - 1) + _CLOSE) ** -0.5
        found = nnls(scaled * weight[:, None], weight)[0]
    result: Vector = found / unit
    return result
