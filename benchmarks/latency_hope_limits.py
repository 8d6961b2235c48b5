"""What limits predictions on HOPE's tables: repeats of one operator, models to learn from, the state of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from latency_task import Mask, Vector, errors, mean

from autotune.predictor.tables.operators import OperatorTable
from autotune.predictor.tables.phone_graph import rare_joined
from autotune.predictor.tables.run_floors import fit_floors

if TYPE_CHECKING:
    import pandas as pd

SAME = ["device", "model", "op_type", "in_shapes", "out_shape", "kh", "kw"]
FLOORS = np.geomspace(20, 5000, 60)
SPEEDS = np.geomspace(0.4, 1.4, 64)


def repeats(rows: pd.DataFrame, latency: Vector, known: Mask) -> Vector:
    """[n] median over operators of one kind and shape in one run, NaN where there is only one."""
    measured = rows.loc[known, SAME].fillna(0).astype(str).assign(us=latency[known])
    grouped = measured.groupby(SAME)["us"]
    found = np.full(len(rows), np.nan)
    found[known] = np.where(grouped.transform("size") > 1, grouped.transform("median"), np.nan)
    return found


def models_learnt_from(
    model: Any, device: Any, latency: Vector, known: Mask, predict: Callable[[Mask, Mask], Vector]
) -> dict[str, dict[str, float]]:
    """Learning curve: each model left out and predicted from some of the others, drawn once."""
    order = np.random.default_rng(0).permutation(np.unique(model[known]))
    curve = {}
    for count in range(2, len(order)):
        predicted = np.full(len(model), np.nan)
        for at, one in enumerate(order):
            train = known & np.isin(model, np.roll(order, -at - 1)[:count])
            test = known & (model == one) & np.isin(device, device[train])
            if train.any() and test.any():
                predicted[test] = predict(train, test)
        parts = [known & (device == name) & np.isfinite(predicted) for name in np.unique(device[known])]
        rows = [errors(latency[part], predicted[part]) for part in parts if part.any()]
        if rows:
            curve[str(count)] = mean(rows)
    return curve


def floor_known(table: OperatorTable, device: Any, model: Any, latency: Vector, known: Mask) -> Vector:
    """[n] predictions for runs left out if one number of each, its floor, were known: the best one in hindsight."""
    found = np.full(len(model), np.nan)
    for one in np.unique(model[known]):
        train, test = known & (model != one), known & (model == one)
        test &= np.isin(device, device[train])
        if not train.any() or not test.any():
            continue
        joined = rare_joined(table, train)
        fitted = fit_floors(joined.take(train), latency[train], run=model[train], device=device[train], trees=0)
        for name in np.unique(device[test]):
            own = test & (device == name)
            work = fitted.work_us(joined.take(own), device[own])
            wrong = [float(np.abs((work + floor) / latency[own] - 1).mean()) for floor in FLOORS]
            found[own] = work + FLOORS[int(np.argmin(wrong))]
    return found


def speed_known(latency: Vector, predicted: Vector, run: Any) -> Vector:
    """[n] predictions if the factor by which each run is slower were known, the best afterwards."""
    found = predicted.copy()
    for one in np.unique(run):
        own = run == one
        wrong = np.abs(SPEEDS[:, None] * predicted[own] / latency[own] - 1).mean(axis=1)
        found[own] *= SPEEDS[int(np.argmin(wrong))]
    return found
