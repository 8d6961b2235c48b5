"""What a GPU delegate fuses into an operator, guessed from the operators around it.

A table of measured operators names the kernels that really ran (`concat_38_linked_:_add_39`), which is not known
before a model was run. What can be known is the model itself: which shapes come before and after. Guesses for
operators to learn from are made by models that did not see them, so that they are as good as those for new ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from autotune.predictor.tables.operators import Mask, Matrix, Vector

if TYPE_CHECKING:
    import pandas as pd

FUSED = ("add", "mul", "minimum|relu", "hard_swish|sigmoid|tanh")
"""Kinds of operators in the name of a kernel; one column of `fused_counts` each."""
NAMES = ("fused_add", "fused_mul", "fused_relu", "fused_activation")
_FAR = 12
_PARTS = 4


def fused_counts(kernels: pd.Series) -> Matrix:
    """[n, 4] how many operators of each kind a kernel's name says were fused into it; 0 where it has no name."""
    tails = kernels.fillna("").astype(str).str.partition("linked")[2]
    return np.column_stack([tails.str.count(kind).to_numpy(dtype=np.float64) for kind in FUSED])


def surroundings(rows: pd.DataFrame) -> Matrix:
    """[n, d] what the model says about each operator's neighbours.

    Args:
        rows: with `model`, `op_index` (execution order) and the columns of `mobile_gpu_table`.
    """
    order = np.lexsort((rows["op_index"].to_numpy(), rows["model"].to_numpy(dtype=str)))
    ordered = rows.iloc[order]
    model = ordered["model"].to_numpy(dtype=str)
    code = ordered["op"].astype("category").cat.codes.to_numpy(dtype=np.float64)
    in_c, out_c, in_hw, out_hw, kernel, stride, groups = (
        ordered[name].fillna(0.0).to_numpy(dtype=np.float64)
        for name in ("in_c", "out_c", "in_hw", "out_hw", "kernel", "stride", "groups")
    )
    columns = [code, np.log2(in_c + 1), np.log2(out_c + 1), np.log2(in_hw + 1), kernel, stride, np.log2(groups + 1)]
    columns += [out_c / np.maximum(in_c, 1), out_hw]
    for away in (-2, -1, 1, 2, 3):
        there = _shifted(model, np.arange(len(model)), away)
        for values in (code, kernel, stride):
            columns.append(np.where(there >= 0, values[there], -1.0))
        columns.append(np.where(there >= 0, in_c[there] == out_c, -1.0))
        columns.append(np.where(there >= 0, out_c[there] == out_c, -1.0))
        columns.append(np.where(there >= 0, out_c[there] / np.maximum(in_c[there], 1), -1.0))
        columns.append(np.where(there >= 0, out_hw[there] / np.maximum(out_hw, 1), -1.0))
    for direction in (-1, 1):
        for same_as in ((out_c, out_hw), (in_c, in_hw)):
            columns.append(_nearest(model, (out_c, out_hw), same_as, direction))
    found = np.empty((len(rows), len(columns)))
    found[order] = np.column_stack(columns)
    return found


def guess_fused(around: Matrix, counts: Matrix, model: npt.NDArray[np.str_], train: Mask, *, seed: int = 0) -> Matrix:
    """[n, 4] expected numbers of fused operators; only `counts[train]` are looked at.

    Args:
        around: of `surroundings`.
        counts: of `fused_counts`.
        model: [n] model of each row; rows of one are guessed by forests that saw none of it.
        train: [n] rows whose kernels are known.
        seed: of the forests and of who hides from whom.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    found = np.zeros(counts.shape)
    names = np.random.default_rng(seed).permutation(np.unique(model[train]))
    parts = [np.isin(model, names[start::_PARTS]) & train for start in range(_PARTS)]
    for hidden in [~train, *parts]:
        shown = train & ~hidden
        if hidden.any() and shown.any():
            forest = ExtraTreesRegressor(60, max_features=0.5, min_samples_leaf=2, n_jobs=1, random_state=seed)
            found[hidden] = forest.fit(around[shown], counts[shown]).predict(around[hidden])
    return found


def _shifted(model: npt.NDArray[np.str_], at: npt.NDArray[np.intp], away: int) -> npt.NDArray[np.intp]:
    """Position so far away in the same model, -1 where there is none."""
    there = at + away
    inside = (there >= 0) & (there < len(model))
    safe = np.where(inside, there, 0)
    return np.where(inside & (model[safe] == model[at]), safe, -1)


def _nearest(
    model: npt.NDArray[np.str_], shape: tuple[Vector, Vector], same_as: tuple[Vector, Vector], direction: int
) -> Vector:
    """How many operators away the nearest output of this shape is; `_FAR` where none is near."""
    found = np.full(len(model), float(_FAR))
    at = np.arange(len(model))
    for away in range(_FAR - 1, 0, -1):
        there = _shifted(model, at, direction * away)
        equal = (there >= 0) & (shape[0][there] == same_as[0]) & (shape[1][there] == same_as[1])
        found[equal] = away
    return found
