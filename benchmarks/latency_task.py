"""What the tasks of latency_data.py share: a result, the metrics, folds, the untuned baseline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5
Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


PUBLISHED: dict[str, dict[str, float]] = {
    "usc operators, models left out": {"mape": 6.9, "within_10": 79.0},
    "usc operators, unseen shapes": {"mape": 9.9, "within_10": 66.0},
    "usc whole models on the GPU, from operators": {"mape": 4.1, "within_10": 93.0},
    "usc, a new GPU with 100 measured operators": {"mape": 12.4, "within_10": 55.0},
    "hope operators, models left out, CPU": {"mape": 33.0, "within_10": 29.0},
    "hope operators, models left out, GPU": {"mape": 32.0, "within_10": 29.0},
    "hope placement per operator, over the oracle": {"over_oracle": 2.3},
    "nb201, 10 samples": {"spearman": 0.932},
    "nb201, 10 samples, as HELP draws them": {"spearman": 0.932},
}
"""Task -> what simple predictors reach by the task's description (HELP itself on nb201), on all of the data's folds and
devices; those that were handed out are fewer, and the baseline that is computed on them here can be worse or better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the table.

    Args:
        task: its name.
        baseline: metric -> value of the simple predictor, computed here.
        reached: metric -> value of ours.
        target: metric -> value asked for.
        n: predictions that were judged.
        folds: how many parts were left out in turn.
        detail: by device, and what explains the rest.
        note: what to know when reading it.
    """

    task: str
    baseline: Mapping[str, float]
    reached: Mapping[str, float]
    target: Mapping[str, float]
    n: int
    folds: int
    detail: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def row(self) -> dict[str, Any]:
        """As JSON values, with what is published for the task."""
        return with_published(asdict(self))


def with_published(row: dict[str, Any]) -> dict[str, Any]:
    """A row, also one of an earlier run, with what simple predictors are said to reach; empty where nothing is."""
    return {"task": row["task"], "published": PUBLISHED.get(row["task"], {})} | row


def errors(truth: Vector, predicted: Vector) -> dict[str, float]:
    """MAPE and the share within ±10 %, both in percent."""
    relative = np.abs(predicted / truth - 1)
    return {"mape": 100 * float(relative.mean()), "within_10": 100 * float((relative <= 0.1).mean())}


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Metric by metric, every device counting alike."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def folds(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """[n] what is left out together: the table's own folds, else (there are fewer than two) models by turns in five."""
    if "fold" in table and table["fold"].nunique() > 1:
        return table["fold"].to_numpy(dtype=np.int64)
    names = np.unique(table["model"].to_numpy(dtype=str), return_inverse=True)[1]
    by_turns: npt.NDArray[np.int64] = names.astype(np.int64) % FOLDS
    return by_turns


def left_out(
    group: npt.NDArray[Any], known: Mask, predict: Callable[[Mask, Mask], Vector]
) -> tuple[Vector, npt.NDArray[Any]]:
    """Predictions of every row from the rows of other groups.

    Args:
        group: [n] what is left out together.
        known: [n] rows with a latency; others are neither learnt from nor predicted.
        predict: (rows to learn from, rows to predict) -> predictions of the latter.

    Returns:
        [n] predictions, NaN where there is none, and the groups.
    """
    found = np.full(len(group), np.nan)
    groups = np.unique(group[known])
    for one in groups:
        train, test = known & (group != one), known & (group == one)
        if train.any() and test.any():
            found[test] = predict(train, test)
    return found, groups


def untuned(rows: Vector, latency: Vector, train: Mask, test: Mask) -> Vector:
    """The simple predictor: XGBoost as it comes, on the logarithm of latency."""
    from xgboost import XGBRegressor

    model = XGBRegressor(n_jobs=1).fit(rows[train], np.log(latency[train]))
    predicted: Vector = np.exp(np.asarray(model.predict(rows[test]), dtype=np.float64))
    return predicted
