"""Gradient-boosted trees of scikit-learn on what the roofline leaves over; a second opinion beside XGBoost's."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.core import Lane
from autotune.core.codec import decode, encode
from autotune.predictor.features import Matrix, lane_table
from autotune.predictor.flat_trees import FlatTrees
from autotune.predictor.prior import Roofline, fit_roofline
from autotune.predictor.training import MIN_RECORDS

if TYPE_CHECKING:
    import optuna

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistBoostedTrees:
    """`HistGradientBoostingRegressor` on log(latency / roofline) of one lane, absolute error.

    Args:
        rounds: number of trees.
        leaves: of each tree, at most.
        rate: learning rate.
    """

    rounds: int = 150
    leaves: int = 15
    rate: float = 0.1

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "hist_boosted"

    @classmethod
    def suggested(cls, trial: optuna.Trial) -> HistBoostedTrees:
        """Settings that a trial proposes."""
        return cls(
            rounds=trial.suggest_int("rounds", 60, 300, step=30),
            leaves=trial.suggest_int("leaves", 7, 31, log=True),
            rate=trial.suggest_float("rate", 0.03, 0.3, log=True),
        )

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> HistBoostedLane:
        """Roofline first; trees where there are at least `MIN_RECORDS` rows."""
        prior = fit_roofline(rows, latency_us)
        if len(rows) < MIN_RECORDS:
            return HistBoostedLane(prior=prior, base=0.0, trees=None)
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        log_prior = prior.log_us(rows)
        model = HistGradientBoostingRegressor(
            loss="absolute_error", max_iter=self.rounds, max_leaf_nodes=self.leaves, learning_rate=self.rate,
            min_samples_leaf=5, l2_regularization=1.0, max_features=0.5, early_stopping=False, random_state=seed,
        )  # fmt: skip
        with threadpool_limits(1, user_api="openmp"):  # lanes and folds are trained side by side
            model.fit(lane_table(rows, lane, cores, log_prior), np.log(latency_us) - log_prior)
        trees = [(tree.nodes["left"], tree.nodes["right"], tree.nodes["feature_idx"], tree.nodes["num_threshold"],
                  tree.nodes["value"], tree.nodes["is_leaf"]) for (tree,) in model._predictors]  # fmt: skip  # noqa: SLF001 - its only other form is a pickle
        base = float(np.ravel(model._baseline_prediction)[0])  # noqa: SLF001 - as above
        return HistBoostedLane(prior=prior, base=base, trees=FlatTrees.of(trees))

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> HistBoostedLane:  # noqa: ARG002
        """From the roofline's constants and the trees' arrays."""
        prior, base = decode(Roofline, state["prior"]), float(state["base"])
        if not state["trees"]:
            return HistBoostedLane(prior=prior, base=base, trees=None)
        with np.load(io.BytesIO(files["npz"]), allow_pickle=False) as arrays:
            return HistBoostedLane(prior=prior, base=base, trees=FlatTrees.read(arrays))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HistBoostedLane:
    """A roofline and trees on top.

    Args:
        prior: the lane's roofline.
        base: what all trees add to.
        trees: None where there were too few records for any.
    """

    prior: Roofline
    base: float
    trees: FlatTrees | None

    def log_us(self, rows: Matrix, lane: Lane, cores: int) -> Vector:
        """Natural logarithm of the latency in µs, per row of kernel features."""
        log_prior = self.prior.log_us(rows)
        if self.trees is None or not len(rows):
            return log_prior
        return log_prior + self.base + self.trees.sums(lane_table(rows, lane, cores, log_prior))

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Roofline as JSON, trees as NumPy's npz."""
        state = {"prior": encode(self.prior), "base": self.base, "trees": self.trees is not None}
        if self.trees is None:
            return state, {}
        target = io.BytesIO()
        np.savez_compressed(target, **self.trees.arrays())
        return state, {"npz": target.getvalue()}
