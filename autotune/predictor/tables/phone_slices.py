"""What a concatenation or conversion costs when channels do not fill slices of four, and what one GPU thread does.

A concatenation of whole slices copies them; where an input ends within a slice, all that follows is moved channel by
channel. A thread of a GPU computes its output alone, so that a long sum takes its time however few outputs there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autotune.predictor.tables.operators import OperatorTable

if TYPE_CHECKING:
    import pandas as pd

_SLICE = 4
_BYTES = 4
MOVERS = ("Concat", "ConvertTensor", "BinaryOp")


def with_slices(table: OperatorTable, rows: pd.DataFrame) -> OperatorTable:
    """The table of `phone_graph_table` with features and terms of channels that do not fill their slices."""
    kind = rows["op_type"].to_numpy(dtype=str)
    channels = [_channels(text) for text in rows["in_shapes"].astype(str)]
    odd = np.array([any(count % _SLICE for count in found) for found in channels]) * 1.0
    within = np.array([any(count % _SLICE for count in found[:-1]) for found in channels]) * 1.0
    slices = np.array([sum(np.ceil(count / _SLICE) for count in found) for found in channels], dtype=np.float64)
    read, written = (np.exp2(table.features[:, table.names.index(name)]) for name in ("read", "written"))
    concat = kind == "Concat"
    terms = [
        concat * table.features[:, table.names.index("inputs")], concat * slices,
        _BYTES * read * odd * np.isin(kind, MOVERS), _BYTES * written * within * concat,
    ]  # fmt: skip
    return table.with_features({"odd": odd, "odd_within": within}).with_terms(np.column_stack(terms))


def with_threads(table: OperatorTable, rows: pd.DataFrame) -> OperatorTable:
    """The table with the length of one output's sum, as feature and as term."""
    kind = rows["op_type"].to_numpy(dtype=str)
    area = (table.features[:, [table.names.index("kh"), table.names.index("kw")]]).prod(axis=1)
    dense = np.isin(kind, ("Convolution", "Deconvolution"))
    windowed = dense | np.isin(kind, ("ConvolutionDepthwise", "Pooling"))
    steps = np.where(dense, np.exp2(table.features[:, table.names.index("reduction")]), area) * windowed
    return table.with_features({"steps": np.log2(steps + 1)}).with_terms(steps[:, None])


def _channels(text: str) -> list[float]:
    """Channels of each input that is an image: `1,32,8,8;1,16,8,8`."""
    return [float(shape.split(",")[1]) for shape in text.split(";") if shape.count(",") == 3]
