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
_LEAST_SHARE = 0.02
"""Of rows that must have a term for it to be pulled."""


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


def fit_prior(table: OperatorTable, latency_us: Vector, *, pull: float = 0.0) -> PhysicalPrior:
    """Non-negative least squares on relative errors, reweighted towards their absolute values.

    Args:
        table: of n operators.
        latency_us: [n] measured.
        pull: rows' worth of weight that draws every term to an equal share, and terms that hardly any row has are
            left out; for tables of many terms and few rows.
    """
    everything = solve(table.terms, latency_us, pull=pull)
    coefficients = {}
    for family in np.unique(table.family):
        own = table.family == family
        if own.sum() >= MIN_OF_FAMILY:
            coefficients[str(family)] = solve(table.terms[own], latency_us[own], pull=pull)
    return PhysicalPrior(coefficients=coefficients, everything=everything)


def solve(terms: Matrix, latency_us: Vector, *, pull: float = 0.0) -> Vector:
    """[t] µs per unit of each term, as `fit_prior` finds them."""
    from scipy.optimize import nnls

    relative = terms / latency_us[:, None]
    unit = np.maximum(relative.mean(axis=0), 1e-300)  # columns differ by many orders of magnitude
    used = (relative > 0).mean(axis=0) > (_LEAST_SHARE if pull > 0 else -1.0)
    scaled = np.where(used, relative / unit, 0.0)
    bottom = np.sqrt(pull) * np.eye(len(unit))
    share = np.sqrt(pull) * used / max(int(used.sum()), 1)
    weight = np.ones(len(latency_us))
    for _ in range(_ROUNDS + 1):
        found = nnls(np.vstack([scaled * weight[:, None], bottom]), np.concatenate([weight, share]))[0]
        weight = (np.abs(scaled @ found - 1) + _CLOSE) ** -0.5
    result: Vector = np.where(used, found / unit, 0.0)
    return result
