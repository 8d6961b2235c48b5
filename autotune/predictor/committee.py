"""A committee: learners of one kind, each of which saw other records; where they disagree, not enough is known.

Each member learns from a bootstrap sample of the records (Efron 1979; query by bagging, Abe and Mamitsuka 1998). The
committee predicts the mean of its members' logarithms and says how far they lie apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autotune.core import Lane
from autotune.predictor.boosted import BoostedTrees
from autotune.predictor.features import Matrix
from autotune.predictor.learner import Learner, Regressor

Vector = npt.NDArray[np.float64]

SMALL_TREES = BoostedTrees(rounds=60, rate=0.2, penalty=1.0, near=0)
"""What the members are: trees as deep as the search's own, which disagree where they have seen nothing, in a third of
the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """Makes committees.

    Args:
        inner: what the members are.
        members: how many.
    """

    inner: Learner = SMALL_TREES
    members: int = 8

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "committee"

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> Committee:
        """Learn one lane; deterministic for a seed."""
        rng = np.random.default_rng(seed)
        fitted = []
        for member in range(self.members):
            drawn = np.sort(rng.integers(0, len(rows), len(rows)))
            fitted.append(self.inner.fit(rows[drawn], latency_us[drawn], lane, cores, seed=seed + member))
        return Committee(members=tuple(fitted))

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> Committee:
        """The members one after the other; their files are told apart by their number."""
        fitted = []
        for number, own in enumerate(state["members"]):
            begin = f"{number}."
            theirs = {suffix.removeprefix(begin): file for suffix, file in files.items() if suffix.startswith(begin)}
            fitted.append(self.inner.restore(own, theirs, cores))
        if not fitted:
            raise ValueError("a committee without members")
        return Committee(members=tuple(fitted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Committee:
    """What was learnt of one lane.

    Args:
        members: regressors.
    """

    members: tuple[Regressor, ...]

    def votes(self, rows: Matrix, lane: Lane, cores: int) -> Vector:
        """[members, rows] natural logarithms of the latency in µs."""
        return np.stack([member.log_us(rows, lane, cores) for member in self.members])

    def log_us(self, rows: Matrix, lane: Lane, cores: int) -> Vector:
        """Natural logarithm of the latency in µs, per row of kernel features."""
        result: Vector = self.votes(rows, lane, cores).mean(axis=0)
        return result

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The members' values, and their files under `<number>.<suffix>`."""
        parts = [member.dump() for member in self.members]
        files = {f"{number}.{suffix}": file for number, (_, own) in enumerate(parts) for suffix, file in own.items()}
        return {"members": [state for state, _ in parts]}, files
