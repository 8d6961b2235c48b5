"""A new device from some measured operators and what other devices made of all of them.

Latency relative to the geometric mean of the known devices varies slowly with what an operator is, so that a hundred
measured ones, spread over all kinds, carry to the rest: Gaussian processes and extremely randomised trees, averaged.
In what devices differ, and how smoothly, is learnt from the known ones, each as if it were new beside the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.errors import PredictorError
from autotune.predictor.tables.gaussian import GaussianProcess, Problem
from autotune.predictor.tables.operators import Matrix, OperatorTable, Vector

Index = npt.NDArray[np.intp]

MIN_MEASURED = 20
"""Measured operators under which nothing is predicted."""
TRAITS = ("work", "moved", "out_slices", "in_slices", "out_side", "kernel", "reduction", "outputs")
"""Features (of `mobile_gpu_table`) in which devices differ smoothly."""
_FAMILY, _TRAIT = 1.5, 0.7
_TUNED = 300
"""Operators of each known device that the process is tuned on."""
_DRAWS = 8
"""Times that they are drawn: one draw moves the error by three per cent of itself."""
_TREES = 0.25
"""Weight of the trees: the best where a known device is new in turn, whichever phone is left out of that."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownDevices:
    """Operators with their latencies on devices that are known.

    Args:
        table: of n operators.
        latency_us: [n, s] on s devices.
    """

    table: OperatorTable
    latency_us: Matrix

    def __post_init__(self) -> None:
        if self.latency_us.shape[0] != len(self.table) or self.latency_us.shape[1] < 1:
            raise PredictorError(
                f"latencies {self.latency_us.shape} of {len(self.table)} operators: one known device at least"
            )
        if not (np.isfinite(self.latency_us).all() and (self.latency_us > 0).all()):
            raise PredictorError("a latency on a known device is not a positive number: leave that operator out")

    @property
    def middle(self) -> Vector:
        """[n] mean log latency."""
        logs: Vector = np.log(self.latency_us).mean(axis=1)
        return logs

    def view(self) -> Matrix:
        """[n, d] what operators are compared in: latency, how the known devices differ, family, traits."""
        logs, families = np.log(self.latency_us), np.unique(self.table.family)
        apart = logs - logs.mean(axis=1, keepdims=True)
        kind = (self.table.family[:, None] == families).astype(np.float64)
        traits = self.table.features[:, [self.table.names.index(name) for name in TRAITS]]
        return np.column_stack([self.middle, apart[:, :-1], _FAMILY * kind, _TRAIT * traits])

    def spread_out(self, count: int, *, seed: int = 0) -> Index:
        """[≤ count] operators to measure on a new device: of as many clusters each the one that most others equal.

        Among those that as many equal it is the one next to the centre. What is measured once is then known of all that
        equal it.
        """
        from sklearn.cluster import KMeans

        scaled = _even(self.view())
        _, member, equals = np.unique(self.table.features, axis=0, return_inverse=True, return_counts=True)
        found = KMeans(min(count, len(np.unique(scaled, axis=0))), n_init=2, random_state=seed).fit(scaled)
        away = np.linalg.norm(scaled - found.cluster_centers_[found.labels_], axis=1)
        order = np.lexsort((away, -equals[member.ravel()], found.labels_))
        _, first = np.unique(found.labels_[order], return_index=True)
        chosen: Index = np.sort(order[first])
        return chosen

    def adapt(self, measured: Index, latency_us: Vector, *, trees: int = 300, seed: int = 0) -> Vector:
        """[n] predicted µs on the new device from the latencies of the measured operators there.

        Raises:
            PredictorError: too few are measured, or a latency is not positive.
        """
        if len(measured) < MIN_MEASURED or not (np.isfinite(latency_us).all() and (latency_us > 0).all()):
            raise PredictorError(
                f"{len(measured)} measured operators; at least {MIN_MEASURED} positive ones are needed"
            )
        from sklearn.ensemble import ExtraTreesRegressor

        view, left = self.view(), np.log(latency_us) - self.middle[measured]
        scaled, alike, process = _even(view), self._in_turn(), GaussianProcess(rows_to_tune=_TUNED)
        smooth = [
            process.fit(scaled[measured], left, seed=seed + draw, alike=alike).predict(scaled) for draw in range(_DRAWS)
        ]
        seen = np.column_stack([view, self.table.features])
        forest = ExtraTreesRegressor(trees, max_features=0.5, n_jobs=1, random_state=seed).fit(seen[measured], left)
        relative = (1 - _TREES) * np.mean(smooth, axis=0) + _TREES * forest.predict(seen)
        result: Vector = np.exp(self.middle + np.clip(relative, left.min() - 0.2, left.max() + 0.2))
        return result

    def _in_turn(self) -> list[Problem]:
        """Each known device as if it were new: what all its operators are compared in, and what would be learnt."""
        found: list[Problem] = []
        if self.latency_us.shape[1] < 2:
            return found
        for at in range(self.latency_us.shape[1]):
            rest = KnownDevices(table=self.table, latency_us=np.delete(self.latency_us, at, axis=1))
            view = np.insert(rest.view(), rest.latency_us.shape[1], 0.0, axis=1)  # one difference less
            found.append((_even(view), np.log(self.latency_us[:, at]) - rest.middle))
        return found


def _even(view: Matrix) -> Matrix:
    """Columns of mean 0 and spread 1."""
    scaled: Matrix = (view - view.mean(axis=0)) / np.maximum(view.std(axis=0), 1e-9)
    return scaled
