"""The physical prior, and gradient-boosted trees on what it leaves over.

Trees learn the absolute error of logarithms: a run that was slow throughout, of the few that there are, bends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autotune.errors import PredictorError
from autotune.predictor.tables.operators import Matrix, OperatorTable, Vector
from autotune.predictor.tables.physical import PhysicalPrior, fit_prior

MIN_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostedPriorLearner:
    """A prior by family and scikit-learn's histogram gradient boosting over all families.

    Args:
        rounds: trees.
        rate: learning rate.
        leaves: of each tree.
        leaf: rows at least in each leaf.
        penalty: of a leaf's value, in rows.
        pull: of `fit_prior`.
    """

    rounds: int = 150
    rate: float = 0.06
    leaves: int = 15
    leaf: int = 20
    penalty: float = 5.0
    pull: float = 1.0

    def fit(self, table: OperatorTable, latency_us: Vector, *, seed: int = 0) -> BoostedPrior:
        """Learn from n measured operators.

        Raises:
            PredictorError: fewer than `MIN_ROWS`, or a latency that is not positive.
        """
        if len(table) < MIN_ROWS:
            raise PredictorError(f"{len(table)} operators are too few to learn from: at least {MIN_ROWS} are needed")
        if not (np.isfinite(latency_us).all() and (latency_us > 0).all()):
            raise PredictorError("a latency to learn from is not a positive number: import the table anew")
        from sklearn.ensemble import HistGradientBoostingRegressor

        prior = fit_prior(table, latency_us, pull=self.pull)
        log_prior = prior.log_us(table)
        trees = HistGradientBoostingRegressor(
            loss="absolute_error",
            max_iter=self.rounds,
            learning_rate=self.rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.leaf,
            l2_regularization=self.penalty,
            early_stopping=False,
            random_state=seed,
        ).fit(_seen(table, log_prior), np.log(latency_us) - log_prior)
        return BoostedPrior(prior=prior, trees=trees)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoostedPrior:
    """What `BoostedPriorLearner.fit` found."""

    prior: PhysicalPrior
    trees: Any

    def latency_us(self, table: OperatorTable) -> Vector:
        """[n] predicted µs."""
        log_prior = self.prior.log_us(table)
        result: Vector = np.exp(log_prior + self.trees.predict(_seen(table, log_prior)))
        return result


def _seen(table: OperatorTable, log_prior: Vector) -> Matrix:
    """[n, d + 1] what trees look at."""
    return np.column_stack([table.features, log_prior])
