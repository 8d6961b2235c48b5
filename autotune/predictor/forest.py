"""Baseline: a random forest per kernel family, nn-Meter's way (Zhang et al., MobiSys 2021, section 5)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES, Lane
from autotune.predictor.features import KERNEL_FEATURES, Matrix
from autotune.predictor.flat_trees import FlatTrees
from autotune.predictor.linear import FlopsLinear, LinearLane
from autotune.predictor.prior import family_codes

if TYPE_CHECKING:
    import optuna

Vector = npt.NDArray[np.float64]

MIN_OF_FAMILY = 10
"""Rows under which a family has no forest and takes the linear model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestPerFamily:
    """scikit-learn's random forests on log latency.

    Args:
        trees: in each forest.
        share: of the features that a split looks at.
    """

    trees: int = 60
    share: float = 0.5

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "forest_per_family"

    @classmethod
    def suggested(cls, trial: optuna.Trial) -> ForestPerFamily:
        """Settings that a trial proposes."""
        return cls(trees=trial.suggest_int("trees", 40, 120, step=20), share=trial.suggest_float("share", 0.2, 0.9))

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> ForestLane:
        """A forest per family that has enough rows."""
        from sklearn.ensemble import RandomForestRegressor

        linear = FlopsLinear().fit(rows, latency_us, lane, cores, seed=seed)
        family = family_codes(rows)
        forests = {}
        for code in np.unique(family):
            own = family == code
            if own.sum() >= MIN_OF_FAMILY:
                forest = RandomForestRegressor(
                    n_estimators=self.trees, max_features=self.share, random_state=seed, n_jobs=1
                )
                forest.fit(rows[own], np.log(latency_us[own]))
                forests[FAMILIES[code]] = flatten(forest)
        return ForestLane(forests=forests, linear=linear)

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> ForestLane:
        """From arrays; scikit-learn itself stores forests only as pickles."""
        linear = FlopsLinear().restore(state["linear"], {}, cores)
        if not state["families"]:
            return ForestLane(forests={}, linear=linear)
        with np.load(io.BytesIO(files["npz"]), allow_pickle=False) as arrays:
            forests = {name: FlatTrees.read(arrays, f"{name}.") for name in state["families"]}
        return ForestLane(forests=forests, linear=linear)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForestLane:
    """Forests by family, and what serves the other families."""

    forests: Mapping[str, FlatTrees]
    linear: LinearLane

    def log_us(self, rows: Matrix, lane: Lane, cores: int) -> Vector:
        """Natural logarithm of the latency in µs, per row of kernel features."""
        result = self.linear.log_us(rows, lane, cores)
        family = family_codes(rows)
        for name, forest in self.forests.items():
            own = family == FAMILIES.index(name)
            if own.any():
                result[own] = forest.sums(rows[own][:, : len(KERNEL_FEATURES)]) / len(forest.roots)
        return result

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The linear part as JSON, the forests as NumPy's npz."""
        state = {"linear": self.linear.dump()[0], "families": sorted(self.forests)}
        if not self.forests:
            return state, {}
        target = io.BytesIO()
        arrays = [forest.arrays(f"{name}.") for name, forest in self.forests.items()]
        np.savez_compressed(target, **{name: array for part in arrays for name, array in part.items()})
        return state, {"npz": target.getvalue()}


def flatten(forest: Any) -> FlatTrees:
    """Flat arrays of a fitted `RandomForestRegressor`."""
    return FlatTrees.of(
        [
            (t.children_left, t.children_right, t.feature, t.threshold, t.value[:, 0, 0], t.children_left < 0)
            for t in (estimator.tree_ for estimator in forest.estimators_)
        ]
    )
