"""Decision trees in flat arrays: what scikit-learn stores only as a pickle, saved and predicted without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autotune.predictor.features import Matrix

Vector = npt.NDArray[np.float64]
FIELDS = ("left", "right", "feature", "threshold", "value", "roots")
_ROWS = 4096
"""Rows that walk through the trees at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatTrees:
    """All trees behind each other, one entry per node.

    Args:
        left: child where the feature is at most the threshold; the node itself in a leaf.
        right: the other child; the node itself in a leaf.
        feature: column that is looked at.
        threshold: where it splits.
        value: what a leaf predicts.
        roots: first node of each tree.
    """

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: Vector
    value: Vector
    roots: npt.NDArray[np.int32]

    @classmethod
    def of(cls, trees: Sequence[tuple[Any, ...]]) -> FlatTrees:
        """From (left, right, feature, threshold, value, is leaf) of each tree, children counted within their tree."""
        sizes = [len(tree[0]) for tree in trees]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
        columns: list[list[Any]] = [[] for _ in FIELDS[:-1]]
        for (left, right, feature, threshold, value, leaf), root, size in zip(trees, roots, sizes, strict=True):
            own = np.arange(size)
            columns[0].append(np.where(leaf, own, left).astype(np.int32) + root)
            columns[1].append(np.where(leaf, own, right).astype(np.int32) + root)
            columns[2].append(np.where(leaf, 0, feature).astype(np.int32))
            columns[3].append(np.where(leaf, 0.0, threshold))
            columns[4].append(np.asarray(value, dtype=np.float64))
        joined = {name: np.concatenate(column) for name, column in zip(FIELDS[:-1], columns, strict=True)}
        return cls(roots=roots, **joined)

    @classmethod
    def read(cls, arrays: Mapping[str, Any], prefix: str = "") -> FlatTrees:
        """The inverse of `arrays`."""
        return cls(**{name: arrays[prefix + name] for name in FIELDS})

    def arrays(self, prefix: str = "") -> dict[str, Any]:
        """By name, to be saved."""
        return {prefix + name: getattr(self, name) for name in FIELDS}

    def sums(self, rows: Matrix) -> Vector:
        """Sum of the trees' values, per row."""
        parts = [self._sums(rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _sums(self, rows: Matrix) -> Vector:
        at = np.tile(self.roots, (len(rows), 1))
        line = np.arange(len(rows))[:, None]
        while True:
            goes_left = rows[line, self.feature[at]] <= self.threshold[at]
            following = np.where(goes_left, self.left[at], self.right[at])
            if np.array_equal(following, at):
                result: Vector = self.value[at].sum(axis=1)
                return result
            at = following
