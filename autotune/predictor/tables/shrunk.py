"""The physical prior, and only that share of what trees find beyond it that carries to further models.

Trees tell the models apart that they have seen. How much of their correction to believe is learnt on the training
side: models are left out in turn, and the share that would have predicted them best is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autotune.errors import PredictorError
from autotune.predictor.tables.operators import Mask, OperatorTable, Strings, Vector
from autotune.predictor.tables.physical import PhysicalPrior, fit_prior

MIN_ROWS = 20
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrunkLearner:
    """Extremely randomised trees on what the prior leaves over, shrunk.

    Args:
        trees: how many.
        tuning_trees: how many while the share is chosen.
        leaf: rows at least in each leaf.
        pull: of `fit_prior`.
    """

    trees: int = 100
    tuning_trees: int = 15
    leaf: int = 3
    pull: float = 1.0

    def fit(self, table: OperatorTable, latency_us: Vector, group: Strings, *, seed: int = 0) -> ShrunkPredictor:
        """Learn from n measured operators of the models `group` [n].

        Raises:
            PredictorError: fewer than `MIN_ROWS`, or a latency that is not positive.
        """
        if len(table) < MIN_ROWS:
            raise PredictorError(f"{len(table)} operators are too few to learn from: at least {MIN_ROWS} are needed")
        if not (np.isfinite(latency_us).all() and (latency_us > 0).all()):
            raise PredictorError("a latency to learn from is not a positive number: import the table anew")
        return self._part(table, latency_us, self._share(table, latency_us, group, seed), self.trees, seed)

    def _share(self, table: OperatorTable, latency_us: Vector, group: Strings, seed: int) -> float:
        """The share with the least mean relative error on groups left out; 0 where there is only one group."""
        wrong = np.zeros((len(SHARES), len(table)))
        groups = np.unique(group)
        if len(groups) < 2:
            return 0.0
        for one in groups:
            hidden: Mask = group == one
            if (~hidden).sum() < MIN_ROWS:
                continue
            part = self._part(table.take(~hidden), latency_us[~hidden], 1.0, self.tuning_trees, seed)
            log_prior, found = part.parts(table.take(hidden))
            for at, share in enumerate(SHARES):
                wrong[at, hidden] = np.abs(np.exp(log_prior + share * found) / latency_us[hidden] - 1)
        return SHARES[int(np.argmin(wrong.mean(axis=1)))]

    def _part(self, table: OperatorTable, latency_us: Vector, share: float, trees: int, seed: int) -> ShrunkPredictor:
        from sklearn.ensemble import ExtraTreesRegressor

        prior = fit_prior(table, latency_us, pull=self.pull)
        log_prior = prior.log_us(table)
        left = np.log(latency_us) - log_prior
        forest = ExtraTreesRegressor(
            trees, max_features=0.4, min_samples_leaf=self.leaf, n_jobs=1, random_state=seed
        ).fit(np.column_stack([table.features, log_prior]), left)
        return ShrunkPredictor(prior=prior, forest=forest, share=share)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShrunkPredictor:
    """What `ShrunkLearner.fit` found; `share` of the forest's correction is applied."""

    prior: PhysicalPrior
    forest: Any
    share: float

    def parts(self, table: OperatorTable) -> tuple[Vector, Vector]:
        """[n] log prior, and [n] the forest's whole correction to it."""
        log_prior = self.prior.log_us(table)
        seen = np.column_stack([table.features, log_prior])
        return log_prior, np.asarray(self.forest.predict(seen), dtype=np.float64)

    def latency_us(self, table: OperatorTable) -> Vector:
        """[n] predicted µs."""
        log_prior, found = self.parts(table)
        result: Vector = np.exp(log_prior + self.share * found)
        return result
