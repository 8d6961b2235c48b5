"""Operators on a processor whose launch costs differ from run to run: predictions for every floor that was seen.

On phones' GPUs the least time of an operator changes several times over between the runs of two models (clock,
driver's waiting), which no shape tells. So each measured run gets a floor of its own, the work above it is shared,
and a run to come may have any of the floors that its device has shown: the prediction is the one with the least
expected relative error over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autotune.errors import PredictorError
from autotune.predictor.tables.operators import Mask, Matrix, OperatorTable, Strings, Vector

MIN_ROWS = 20
_ROUNDS = 9
_CLOSE = 0.03
_PULL = 0.3
_LEAST_ROWS = 3
_QUANTILE = 0.02
_SURE = 0.5
"""Share of a run's `_QUANTILE` of latencies that is taken for its floor at least; the whole of it at most."""
NOT_LAUNCHED = ("rare", "Const")
"""Families that may never have reached the processor: they say nothing about its floor."""


def fit_floors(
    table: OperatorTable, latency_us: Vector, *, run: Strings, device: Strings, trees: int = 100, seed: int = 0
) -> RunFloors:
    """Learn floors and work from n measured operators.

    Args:
        table: their families (equal on every device) and terms; the first term is a constant and is left out.
        latency_us: [n].
        run: [n] which were measured together.
        device: [n].
        trees: randomised ones that learn what floor and work leave over; 0 for none.
        seed: of the trees.

    Raises:
        PredictorError: too few operators, or a latency that is not positive.
    """
    if len(table) < MIN_ROWS:
        raise PredictorError(f"{len(table)} operators are too few to learn from: at least {MIN_ROWS} are needed")
    if not (np.isfinite(latency_us).all() and (latency_us > 0).all()):
        raise PredictorError("a latency to learn from is not a positive number: import the table anew")
    floors, work = {}, {}
    floor = np.empty(len(table))
    for name in np.unique(device):
        own = device == name
        floors[str(name)], work[str(name)] = _device(table.take(own), latency_us[own], run[own])
        floor[own] = floors[str(name)][np.unique(run[own], return_inverse=True)[1]]
    found = RunFloors(floors=floors, work=work)
    if not trees:
        return found
    from sklearn.ensemble import ExtraTreesRegressor

    logs = np.log(found.work_us(table, device) + floor)
    forest = ExtraTreesRegressor(trees, max_features=0.4, min_samples_leaf=8, n_jobs=1, random_state=seed)
    return replace(found, forest=forest.fit(np.column_stack([table.features, logs]), np.log(latency_us) - logs))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunFloors:
    """What `fit_floors` found.

    Args:
        floors: device -> [r] µs, one for each of its runs.
        work: device -> family -> [t] µs per unit of each term.
        forest: of what they leave over in the logarithm, None if there is none.
    """

    floors: Mapping[str, Vector]
    work: Mapping[str, Mapping[str, Vector]]
    forest: Any = None

    def work_us(self, table: OperatorTable, device: Strings) -> Vector:
        """[n] µs above the floor; of a family that the device has not shown, the median of the others' work."""
        found = np.full(len(table), np.nan)
        for name in np.unique(device):
            own = device == name
            for family, each in self.work[str(name)].items():
                at = own & (table.family == family)
                found[at] = table.terms[at, 1:] @ each
            unknown = own & np.isnan(found)
            known = found[own & ~np.isnan(found)]
            found[unknown] = np.median(known) if len(known) else 0.0
        return found

    def latency_us(self, table: OperatorTable, device: Strings) -> Vector:
        """[n] µs with the least expected relative error over the device's floors."""
        work, found = self.work_us(table, device), np.empty(len(table))
        for name in np.unique(device):
            own: Mask = device == name
            found[own] = least_relative(work[own, None] + self.floors[str(name)])
        return found

    def expected_us(self, table: OperatorTable, device: Strings) -> Vector:
        """[n] mean µs over the device's floors, what the forest knows included: for choosing between processors.

        The forest knows the models that it has seen, so that it worsens relative errors of small operators of others;
        it knows the large ones better, and those decide.
        """
        work, found = self.work_us(table, device), np.empty(len(table))
        for name in np.unique(device):
            own: Mask = device == name
            logs = [np.log(work[own] + floor) for floor in self.floors[str(name)]]
            if self.forest is not None:
                logs = [each + self.forest.predict(np.column_stack([table.features[own], each])) for each in logs]
            found[own] = np.exp(logs).mean(axis=0)
        return found


def least_relative(samples: Matrix) -> Vector:
    """[n] minimisers of the mean of |p / sample − 1| over [n, s]: medians weighted by 1 / sample."""
    ordered = np.sort(samples, axis=1)
    share = np.cumsum(1 / ordered, axis=1) / (1 / ordered).sum(axis=1, keepdims=True)
    found: Vector = ordered[np.arange(len(ordered)), (share >= 0.5 - 1e-12).argmax(axis=1)]
    return found


def _device(table: OperatorTable, latency_us: Vector, run: Strings) -> tuple[Vector, dict[str, Vector]]:
    """Floors of the runs of one device, and its work by family: non-negative least squares on relative errors."""
    from scipy.optimize import nnls

    runs, families = np.unique(run), np.unique(table.family)
    launched = ~np.isin(table.family, NOT_LAUNCHED)
    most = np.array([_low(latency_us[run == one], latency_us[(run == one) & launched]) for one in runs])
    sure = _SURE * most[np.searchsorted(runs, run)]
    columns = [(run[:, None] == runs) * 1.0]
    columns += [np.where((table.family == family)[:, None], table.terms[:, 1:], 0.0) for family in families]
    relative = np.column_stack(columns) / latency_us[:, None]
    goal = np.maximum(1 - sure / latency_us, _CLOSE)
    count = (relative > 0).sum(axis=0)
    unit = np.where(count > 0, relative.sum(axis=0) / np.maximum(count, 1), 1.0)
    scaled = np.where(count >= _LEAST_ROWS, relative / unit, 0.0)
    bottom, weight = np.sqrt(_PULL) * np.eye(len(unit)), np.ones(len(goal))
    for _ in range(_ROUNDS):
        found = nnls(
            np.vstack([scaled * weight[:, None], bottom]), np.r_[weight * goal, np.zeros(len(unit))], maxiter=10_000
        )[0]
        weight = (np.abs(scaled @ found - goal) + _CLOSE) ** -0.5
    each = np.where(count >= _LEAST_ROWS, found / unit, 0.0)
    floors = np.minimum(_SURE * most + each[: len(runs)], most)
    parts = each[len(runs) :].reshape(len(families), -1)
    return floors, {str(family): part for family, part in zip(families, parts, strict=True)}


def _low(everything: Vector, launched: Vector) -> float:
    return float(np.quantile(launched if len(launched) else everything, _QUANTILE))
