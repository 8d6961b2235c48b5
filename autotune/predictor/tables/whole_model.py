"""A whole model's latency from its operators': their sum, what each costs beside, and kernels that no table lists.

A profile of a GPU lists what is worth listing; additions, paddings and resizes are missing from it, but the numbers
in the kernels' names (`convolution_2d_13_linked_:_relu_14`) count them too, so that a gap says how many there are and
where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autotune.errors import PredictorError
from autotune.predictor.tables.on_prior import FittedOnPrior, fit_on_prior
from autotune.predictor.tables.operators import OperatorTable, Vector

if TYPE_CHECKING:
    import pandas as pd

MIN_MODELS = 10
_MOST_UNLISTED = 20


def models_table(rows: pd.DataFrame, operators: OperatorTable, latency_us: Vector) -> tuple[list[str], OperatorTable]:
    """Names of the models, and the table that `ModelLearner` learns from.

    Args:
        rows: [n] with `model`, `op_index`, `kernel` (the name of the kernel that ran, or empty).
        operators: [n] their features.
        latency_us: [n] measured or predicted.
    """
    import pandas as pd

    named = rows["kernel"].fillna("").astype(str)
    numbers = named.str.extractall(r"_(\d+)(?=_linked|$)")[0].astype(float).groupby(level=0).agg(["min", "max"])
    numbers = numbers.reindex(rows.index)
    written = np.exp2(operators.features[:, operators.names.index("bytes_out")])
    read = np.exp2(operators.features[:, operators.names.index("bytes_in")])
    table = pd.DataFrame(
        {
            "model": rows["model"].to_numpy(dtype=str), "at": rows["op_index"].to_numpy(), "us": latency_us,
            "first": numbers["min"].to_numpy(), "last": numbers["max"].to_numpy(), "read": read, "written": written,
            "family": operators.family,
        }
    ).sort_values(["model", "at"])  # fmt: skip
    before = table.groupby("model")["last"].shift(1).fillna(-1.0)
    table["unlisted"] = (table["first"] - before - 1).clip(0, _MOST_UNLISTED).fillna(0.0)
    table["unlisted_bytes"] = table["unlisted"] * table["read"]
    grouped = table.groupby("model")
    sums = grouped[["us", "unlisted", "unlisted_bytes", "written"]].sum()
    count = grouped.size().to_numpy(dtype=np.float64)
    shares = table.pivot_table(index="model", columns="family", values="us", aggfunc="sum", fill_value=0.0)
    total = sums["us"].to_numpy()
    features = {
        "total": np.log(total),
        "count": np.log(count),
        "unlisted": sums["unlisted"].to_numpy() / count,
        "unlisted_bytes": np.log((sums["unlisted_bytes"].to_numpy() + 1) / sums["written"].to_numpy()),
    } | {f"share_{name}": shares[name].to_numpy() / total for name in shares}
    return list(sums.index), OperatorTable(
        family=np.full(len(sums), "model"),
        terms=np.column_stack([np.ones(len(sums)), count, sums.to_numpy()]),
        features=np.column_stack(list(features.values())),
        names=tuple(features),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLearner:
    """Non-negative sum of the terms, then extremely randomised trees on what it leaves over.

    Args:
        trees: how many.
        leaf: models at least in each leaf.
    """

    trees: int = 200
    leaf: int = 2

    def fit(self, table: OperatorTable, latency_us: Vector, *, seed: int = 0) -> FittedOnPrior:
        """Learn from n measured models.

        Raises:
            PredictorError: fewer than `MIN_MODELS`.
        """
        if len(table) < MIN_MODELS:
            raise PredictorError(f"{len(table)} models are too few to learn from: at least {MIN_MODELS} are needed")
        from sklearn.ensemble import ExtraTreesRegressor

        forest = ExtraTreesRegressor(
            self.trees, max_features=0.5, min_samples_leaf=self.leaf, n_jobs=1, random_state=seed
        )
        return fit_on_prior(table, latency_us, forest, beside=_sum_over_prior)


def _sum_over_prior(table: OperatorTable, log_prior: Vector) -> Vector:
    result: Vector = table.features[:, table.names.index("total")] - log_prior
    return result
