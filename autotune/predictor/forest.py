"""Baseline: a random forest per kernel family, nn-Meter's way (Zhang et al., MobiSys 2021, section 5)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES, Lane
from autotune.predictor.features import KERNEL_FEATURES, Matrix
from autotune.predictor.linear import FlopsLinear, LinearLane
from autotune.predictor.prior import family_codes

Vector = npt.NDArray[np.float64]

MIN_OF_FAMILY = 10
"""Rows under which a family has no forest and takes the linear model."""
_FIELDS = ("left", "right", "feature", "threshold", "value", "roots")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestPerFamily:
    """scikit-learn's random forests on log latency.

    Args:
        trees: in each forest.
    """

    trees: int = 60

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "forest_per_family"

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> ForestLane:
        """A forest per family that has enough rows."""
        from sklearn.ensemble import RandomForestRegressor

        linear = FlopsLinear().fit(rows, latency_us, lane, cores, seed=seed)
        family = family_codes(rows)
        forests = {}
        for code in np.unique(family):
            own = family == code
            if own.sum() >= MIN_OF_FAMILY:
                forest = RandomForestRegressor(n_estimators=self.trees, max_features=0.5, random_state=seed, n_jobs=1)
                forest.fit(rows[own], np.log(latency_us[own]))
                forests[FAMILIES[code]] = flatten(forest)
        return ForestLane(forests=forests, linear=linear)

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> ForestLane:
        """From arrays; scikit-learn itself stores forests only as pickles."""
        linear = FlopsLinear().restore(state["linear"], {}, cores)
        if not state["families"]:
            return ForestLane(forests={}, linear=linear)
        with np.load(io.BytesIO(files["npz"]), allow_pickle=False) as arrays:
            forests = {
                name: FlatForest(**{field: arrays[f"{name}.{field}"] for field in _FIELDS})
                for name in state["families"]
            }
        return ForestLane(forests=forests, linear=linear)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatForest:
    """All trees of a forest in flat arrays, one entry per node.

    Args:
        left: child where the feature is at most the threshold; the node itself in a leaf.
        right: the other child; the node itself in a leaf.
        feature: column that is looked at.
        threshold: where it splits.
        value: mean of the targets in the node.
        roots: first node of each tree.
    """

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: Vector
    value: Vector
    roots: npt.NDArray[np.int32]

    def predict(self, rows: Matrix) -> Vector:
        """Mean over the trees, per row."""
        at = np.tile(self.roots, (len(rows), 1))
        line = np.arange(len(rows))[:, None]
        while True:
            goes_left = rows[line, self.feature[at]] <= self.threshold[at]
            following = np.where(goes_left, self.left[at], self.right[at])
            if np.array_equal(following, at):
                result: Vector = self.value[at].mean(axis=1)
                return result
            at = following


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForestLane:
    """Forests by family, and what serves the other families."""

    forests: Mapping[str, FlatForest]
    linear: LinearLane

    def log_us(self, rows: Matrix, lane: Lane, cores: int) -> Vector:
        """Natural logarithm of the latency in µs, per row of kernel features."""
        result = self.linear.log_us(rows, lane, cores)
        family = family_codes(rows)
        for name, forest in self.forests.items():
            own = family == FAMILIES.index(name)
            if own.any():
                result[own] = forest.predict(rows[own][:, : len(KERNEL_FEATURES)])
        return result

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The linear part as JSON, the forests as NumPy's npz."""
        state = {"linear": self.linear.dump()[0], "families": sorted(self.forests)}
        if not self.forests:
            return state, {}
        target = io.BytesIO()
        arrays = {f"{name}.{field}": getattr(f, field) for name, f in self.forests.items() for field in _FIELDS}
        np.savez_compressed(target, **arrays)
        return state, {"npz": target.getvalue()}


def flatten(forest: Any) -> FlatForest:
    """Flat arrays of a fitted `RandomForestRegressor`."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1].astype(np.int32)
    left, right = [], []
    for tree, root in zip(trees, roots, strict=True):
        own = np.arange(tree.node_count)
        left.append(np.where(tree.children_left < 0, own, tree.children_left) + root)
        right.append(np.where(tree.children_right < 0, own, tree.children_right) + root)
    return FlatForest(
        left=np.concatenate(left).astype(np.int32),
        right=np.concatenate(right).astype(np.int32),
        feature=np.maximum(np.concatenate([tree.feature for tree in trees]), 0).astype(np.int32),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        value=np.concatenate([tree.value[:, 0, 0] for tree in trees]),
        roots=roots,
    )
