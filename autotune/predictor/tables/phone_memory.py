"""Where an operator's inputs lie when it starts: bytes touched since they were (a stack distance; Mattson, 1970).

Operators that only move data run several times longer when their inputs have left a phone's caches. The order of the
graph says how much was read and written in between, so that it is known before anything runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from autotune.predictor.tables.operators import Matrix, OperatorTable, Vector
from autotune.predictor.tables.phone_graph import elements

if TYPE_CHECKING:
    import pandas as pd

CACHES = tuple(2.0**power for power in range(17, 23))
"""Sizes in bytes, of which measured operators choose: phones' caches lie between."""
_LEAST = 1024.0
_BYTES = 4


def with_memory(table: OperatorTable, rows: pd.DataFrame) -> OperatorTable:
    """The table with how far away inputs are, as features and as terms (bytes from beyond a cache of each size).

    Args:
        table: of `phone_graph_table`, rows in the same order.
        rows: with `model`, `device`, `graph_index`, `preds`, `in_shapes`.
    """
    read, written, weights = (
        np.exp2(table.features[:, table.names.index(at)]) for at in ("read", "written", "weights")
    )
    moved = _BYTES * (read + written + np.where(weights > 1, weights, 0.0))
    distance, cold = distances(rows, moved)
    features = {
        f"distance_{name}": np.log2(distance[:, at] + _LEAST) for at, name in enumerate(("mean", "most", "least"))
    }
    features |= {"moved": np.log2(moved + _LEAST), "working_set": np.log2(distance[:, 0] + moved + _LEAST)}
    features |= {f"cold_{int(np.log2(size))}": cold[:, at] / (_BYTES * read) for at, size in enumerate(CACHES)}
    out = _BYTES * written
    spilt = np.column_stack([np.where(out > size, out, 0.0) for size in CACHES[1:]])
    return table.with_features(features).with_terms(np.column_stack([cold, spilt]))


def distances(rows: pd.DataFrame, moved: Vector) -> tuple[Matrix, Matrix]:
    """How far away the inputs of each operator are.

    Args:
        rows: [n].
        moved: [n] bytes that each operator reads and writes; one that the table lacks counts as none.

    Returns:
        [n, 3] bytes touched since an input was, the input itself included: mean (by size), most, least;
        [n, c] bytes of inputs that lie beyond each of `CACHES`.
    """
    index = rows["graph_index"].fillna(-1).to_numpy(dtype=np.int64)
    sizes = [_BYTES * np.array(elements(text)) for text in rows["in_shapes"]]
    sources = [[int(text) for text in str(listed).split(",") if text.strip().isdigit()] for listed in rows["preds"]]
    found, cold = np.zeros((len(rows), 3)), np.zeros((len(rows), len(CACHES)))
    place = rows.groupby(["device", "model"], observed=True).ngroup().to_numpy()
    for one in np.unique(place):
        at = np.flatnonzero((place == one) & (index >= 0))
        ordered = at[np.argsort(index[at], kind="stable")]
        before = _bytes_before(index[ordered], moved[ordered])
        touched: dict[int, int] = {}
        for row in ordered:
            now, away = int(index[row]), []
            for source in sources[row]:
                last = max(source, touched.get(source, -1))
                away.append(before[now] - before[last + 1] if last < now else 0.0)
                touched[source] = now
            size = sizes[row][: len(away)]
            if size.size == 0:
                continue
            far = np.array(away[: len(size)]) + size
            found[row] = [float((far * size).sum() / size.sum()), far.max(), far.min()]
            cold[row] = [size[far > cache].sum() for cache in CACHES]
    return found, cold


def _bytes_before(index: npt.NDArray[np.int64], moved: Vector) -> Vector:
    """[last + 2] bytes moved by operators of a lower index."""
    each = np.bincount(index, weights=moved, minlength=int(index.max()) + 1 if len(index) else 1)
    total: Vector = np.concatenate([[0.0], np.cumsum(each)])
    return total
