"""Trees on what the physical prior leaves over.

Whole tables are learnt by extremely randomised trees (Geurts et al. 2006): in between they average steps, and neither
XGBoost nor Gaussian processes nor means of these do better. Where a few runs are slow throughout, gradient-boosted
trees on the absolute error of logarithms are not bent by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autotune.errors import PredictorError
from autotune.predictor.tables.operators import OperatorTable, Vector
from autotune.predictor.tables.physical import PhysicalPrior, fit_prior

MIN_ROWS = 20
"""Operators under which nothing is learnt."""


def randomised(seed: int, *, trees: int = 300) -> Any:
    """Extremely randomised trees, not yet fitted."""
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(trees, max_features=0.7, n_jobs=1, random_state=seed)


def boosted(seed: int) -> Any:
    """Gradient-boosted trees that learn absolute errors, not yet fitted."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=150,
        learning_rate=0.06,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=seed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPrior:
    """A prior by family, and trees over all families.

    Args:
        trees: makes them from a seed.
        pull: of `fit_prior`.
    """

    trees: Callable[[int], Any] = randomised
    pull: float = 0.0

    def fit(self, table: OperatorTable, latency_us: Vector, *, seed: int = 0) -> FittedOnPrior:
        """Learn from n measured operators; deterministic for a seed.

        Raises:
            PredictorError: fewer than `MIN_ROWS`, or a latency that is not positive.
        """
        if len(table) < MIN_ROWS:
            raise PredictorError(f"{len(table)} operators are too few to learn from: at least {MIN_ROWS} are needed")
        if not (np.isfinite(latency_us).all() and (latency_us > 0).all()):
            raise PredictorError("a latency to learn from is not a positive number: import the table anew")
        return fit_on_prior(table, latency_us, self.trees(seed), pull=self.pull)


Beside = Callable[[OperatorTable, Vector], Vector]
"""[n] what trees see of a table's log prior, [n], beside the features."""


def fit_on_prior(
    table: OperatorTable,
    latency_us: Vector,
    trees: Any,
    *,
    pull: float = 0.0,
    beside: Beside = lambda _table, log_prior: log_prior,
) -> FittedOnPrior:
    """The prior of n rows, and these trees fitted to what it leaves over of the logarithms."""
    prior = fit_prior(table, latency_us, pull=pull)
    log_prior = prior.log_us(table)
    seen = np.column_stack([table.features, beside(table, log_prior)])
    return FittedOnPrior(prior=prior, trees=trees.fit(seen, np.log(latency_us) - log_prior), beside=beside)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedOnPrior:
    """What `fit_on_prior` found."""

    prior: PhysicalPrior
    trees: Any
    beside: Beside

    def latency_us(self, table: OperatorTable) -> Vector:
        """[n] predicted µs."""
        log_prior = self.prior.log_us(table)
        seen = np.column_stack([table.features, self.beside(table, log_prior)])
        result: Vector = np.exp(log_prior + self.trees.predict(seen))
        return result
