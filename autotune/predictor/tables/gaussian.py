"""A Gaussian process on few thousand rows: smooth where trees are steps, so that it reaches between known shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

Problem = tuple[Matrix, Vector]
"""[n, d] features and [n] targets."""

_ROOT3 = 3.0**0.5
_SHARED = 0.3
"""Share of the noise that repeats of one row do not average away (another launch, another clock)."""
_PENALTY = 0.02
_TYPICAL_LOG_SCALE = 1.5
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcess:
    """Matérn-3/2 with a length scale per column, plus a linear kernel; Rasmussen and Williams (2006), chapters 2 and 5.

    Args:
        rows_to_tune: rows (drawn at random) on which the marginal likelihood is maximised; all rows are then fitted.
        steps: of L-BFGS.
    """

    rows_to_tune: int = 400
    steps: int = 40

    def fit(self, rows: Matrix, target: Vector, *, seed: int, alike: Sequence[Problem] = ()) -> FittedProcess:
        """Equal rows are merged by their median; deterministic for a seed.

        Args:
            rows: [n, d] features.
            target: [n], for instance log latency over a prior.
            seed: of the rows to tune on.
            alike: rows and targets of like problems, from which it is learnt too how much each feature matters.
        """
        center, spread = rows.mean(axis=0), rows.std(axis=0)
        kept = np.flatnonzero(spread > 1e-9)
        scaled = np.round((rows[:, kept] - center[kept]) / spread[kept], 6)
        known, member, count = np.unique(scaled, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(member.ravel(), kind="stable")
        values = np.array([np.median(part) for part in np.split(target[order], np.cumsum(count)[:-1])])
        offset = float(values.mean())
        rng = np.random.default_rng(seed)
        drawn = rng.permutation(len(known))[: self.rows_to_tune]
        variance = _SHARED + (1 - _SHARED) / count
        tuned_on = [(known[drawn], values[drawn] - offset, variance[drawn])]
        for others, theirs in alike:
            some = rng.permutation(len(others))[: self.rows_to_tune]
            own = (others[some][:, kept] - center[kept]) / spread[kept]
            tuned_on.append((own, theirs[some] - theirs[some].mean(), np.ones(len(some))))
        tuned = self._tune(tuned_on)
        dimension = max(known.shape[1], 1)
        inverse, (linear, smooth, noise) = np.exp(-tuned[:-3]), np.exp(tuned[-3:])
        covariance = smooth * _matern(_distances(known * inverse, known * inverse))
        covariance += linear * (known @ known.T / dimension + 1) + np.diag(noise * variance + 1e-6)
        return FittedProcess(
            center=center[kept],
            spread=spread[kept],
            kept=kept,
            inverse=inverse,
            linear=float(linear),
            smooth=float(smooth),
            known=known,
            weights=np.linalg.solve(covariance, values - offset),
            offset=offset,
        )

    def _tune(self, problems: Sequence[tuple[Matrix, Vector, Vector]]) -> Vector:
        """Parameters that are likeliest for all problems together: rows, targets, and what noise each has."""
        from scipy.optimize import minimize

        def unlikely(parameters: Vector) -> tuple[float, Vector]:
            found = [_negative_likelihood(parameters, *problem) for problem in problems]
            slope: Vector = np.sum([one for _, one in found], axis=0)
            return sum(value for value, _ in found), slope

        known, values, _ = problems[0]
        dimension = known.shape[1]
        typical = max(float(values.var()), 1e-3)
        start = np.r_[np.full(dimension, 1.2), np.log(0.3), np.log(0.3 * typical), np.log(0.003)]
        bounds = [(-2.0, 6.0)] * dimension + [(-12.0, 4.0), (-10.0, 4.0), (-11.0, 0.0)]
        found = minimize(unlikely, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": self.steps})
        return np.asarray(found.x, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedProcess:
    """What `GaussianProcess.fit` found."""

    center: Vector
    spread: Vector
    kept: npt.NDArray[np.intp]
    inverse: Vector
    linear: float
    smooth: float
    known: Matrix
    weights: Vector
    offset: float

    def predict(self, rows: Matrix) -> Vector:
        """[n] posterior means."""
        scaled = (rows[:, self.kept] - self.center) / self.spread
        shared = self.smooth * _matern(_distances(scaled * self.inverse, self.known * self.inverse))
        shared += self.linear * (scaled @ self.known.T / max(scaled.shape[1], 1) + 1)
        result: Vector = shared @ self.weights + self.offset
        return result


def _distances(left: Matrix, right: Matrix) -> Matrix:
    """Squared Euclidean distances."""
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1)[None] - 2 * left @ right.T
    result: Matrix = np.maximum(squares, 0.0)
    return result


def _matern(squared: Matrix) -> Matrix:
    scaled = _ROOT3 * np.sqrt(squared + _TINY)
    result: Matrix = (1 + scaled) * np.exp(-scaled)
    return result


def _negative_likelihood(parameters: Vector, known: Matrix, values: Vector, variance: Vector) -> tuple[float, Vector]:
    """Negative log marginal likelihood and its gradient in the logarithms of the parameters, with a mild prior."""
    from scipy.linalg import LinAlgError, cho_solve, cholesky

    dimension = known.shape[1]
    inverse, (linear, smooth, noise) = np.exp(-parameters[:-3]), np.exp(parameters[-3:])
    squared = _distances(known * inverse, known * inverse)
    matern, line = _matern(squared), known @ known.T / max(dimension, 1) + 1
    covariance = smooth * matern + linear * line + np.diag(noise * variance + 1e-6)
    try:
        lower = cholesky(covariance, lower=True)
    except LinAlgError:
        return 1e9, np.zeros_like(parameters)
    alpha = cho_solve((lower, True), values)
    slope = np.outer(alpha, alpha) - cho_solve((lower, True), np.eye(len(values)))
    pull = slope * (-1.5 * smooth) * np.exp(-_ROOT3 * np.sqrt(squared + _TINY))
    totals = pull.sum(axis=1)
    scales = -4 * inverse**2 * (totals @ known**2 - np.einsum("ij,ij->j", known, pull @ known))
    rest = [linear * (slope * line).sum(), smooth * (slope * matern).sum(), noise * (np.diag(slope) * variance).sum()]
    away = parameters[:-3] - _TYPICAL_LOG_SCALE
    value = 0.5 * float(values @ alpha) + float(np.log(np.diag(lower)).sum()) + _PENALTY * float(away @ away)
    return value, -0.5 * np.r_[scales, rest] + np.r_[2 * _PENALTY * away, 0.0, 0.0, 0.0]
