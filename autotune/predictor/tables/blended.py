"""Three unlike models on what the physical prior leaves over, and their mean: two kinds of trees, and a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autotune.errors import PredictorError
from autotune.predictor.tables.gaussian import FittedProcess, GaussianProcess
from autotune.predictor.tables.operators import OperatorTable, Vector
from autotune.predictor.tables.physical import PhysicalPrior, fit_prior

MIN_ROWS = 20
"""Operators under which nothing is learnt."""
MIN_SMOOTH = 12
"""Rows of a family under which it gets no Gaussian process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendedLearner:
    """Mean of log latencies: XGBoost, extremely randomised trees (Geurts et al. 2006), a Gaussian process per family.

    Args:
        rounds: trees of XGBoost.
        depth: of each.
        rate: XGBoost's learning rate.
        trees: extremely randomised ones.
        leaf: rows at least in each of their leaves.
        smooth: weight of the Gaussian process against one for the trees together; 0 leaves it out.
        process: how the Gaussian processes are fitted.
    """

    rounds: int = 400
    depth: int = 6
    rate: float = 0.05
    trees: int = 150
    leaf: int = 1
    smooth: float = 0.5
    process: GaussianProcess = field(default_factory=GaussianProcess)

    def fit(self, table: OperatorTable, latency_us: Vector, *, seed: int = 0) -> BlendedPredictor:
        """Learn from n measured operators; deterministic for a seed.

        Raises:
            PredictorError: fewer than `MIN_ROWS`, or a latency that is not positive.
        """
        if len(table) < MIN_ROWS:
            raise PredictorError(f"{len(table)} operators are too few to learn from: at least {MIN_ROWS} are needed")
        if not (np.isfinite(latency_us).all() and (latency_us > 0).all()):
            raise PredictorError("a latency to learn from is not a positive number: import the table anew")
        from sklearn.ensemble import ExtraTreesRegressor
        from xgboost import XGBRegressor

        prior = fit_prior(table, latency_us)
        log_prior = prior.log_us(table)
        left = np.log(latency_us) - log_prior
        rows = np.column_stack([table.features, log_prior])
        boosted = XGBRegressor(
            n_estimators=self.rounds, max_depth=self.depth, learning_rate=self.rate, subsample=0.8,
            colsample_bytree=0.4, min_child_weight=2, n_jobs=1, random_state=seed,
        ).fit(rows, left)  # fmt: skip
        random = ExtraTreesRegressor(
            self.trees, max_features=0.4, min_samples_leaf=self.leaf, n_jobs=1, random_state=seed
        ).fit(rows, left)
        processes = {}
        for family in np.unique(table.family):
            own = table.family == family
            if self.smooth > 0 and own.sum() >= MIN_SMOOTH:
                seen = table.features[own][:, table.columns(str(family))]
                processes[str(family)] = self.process.fit(seen, left[own], seed=seed)
        return BlendedPredictor(
            prior=prior, trees=(boosted, random), processes=processes, smooth=self.smooth, limit=_limits(left)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlendedPredictor:
    """What `BlendedLearner.fit` found.

    Args:
        prior: of each family.
        trees: XGBoost and extremely randomised trees.
        processes: by family.
        smooth: weight of the process.
        limit: smallest and largest log of latency over prior that was seen, which nothing predicted leaves.
    """

    prior: PhysicalPrior
    trees: tuple[Any, ...]
    processes: Mapping[str, FittedProcess]
    smooth: float
    limit: tuple[float, float]

    def members_us(self, table: OperatorTable) -> Mapping[str, Vector]:
        """[n] µs by each member, for those who want to know why."""
        log_prior = self.prior.log_us(table)
        rows = np.column_stack([table.features, log_prior])
        boosted, random = (np.asarray(model.predict(rows), dtype=np.float64) for model in self.trees)
        stepped = (boosted + random) / 2
        smooth = stepped.copy()
        for family, process in self.processes.items():
            own = table.family == family
            if own.any():
                smooth[own] = process.predict(table.features[own][:, table.columns(family)])
        parts = {"boosted": boosted, "randomised": random, "process": smooth}
        mean = (stepped + self.smooth * smooth) / (1 + self.smooth)
        parts = {"prior": np.zeros(len(table)), "blend": mean} | parts
        return {name: np.exp(log_prior + np.clip(part, *self.limit)) for name, part in parts.items()}

    def latency_us(self, table: OperatorTable) -> Vector:
        """[n] predicted µs."""
        return self.members_us(table)["blend"]


def _limits(left: Vector) -> tuple[float, float]:
    return float(left.min()) - 0.2, float(left.max()) + 0.2
