"""Importer of HOPE's operator table, as latencies; `autotune.datasets.hope` makes recorded devices of the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.datasets.public.operators import Described, Shape, convolution, normalisation, same_pads, simple
from autotune.datasets.public.source import CellError, Mapping, Source, families_of, joined, whole

if TYPE_CHECKING:
    import pandas as pd

COLUMN = re.compile(r"(?P<processor>cpu|gpu)(?:_(?P<setting>(?:big|little)\d+))?_us")
KINDS = (
    ("depthwise", "depthwise"), ("conv", "convolution"), ("matmul", "matmul"), ("pool", "pooling"),
    ("softmax", "normalisation"), ("scale", "normalisation"), ("reduction", "pooling"), ("binary", "elementwise"),
    ("eltwise", "elementwise"), ("relu", "elementwise"), ("concat", "data_movement"), ("tensor", "data_movement"),
    ("slice", "data_movement"), ("pad", "data_movement"), ("reshape", "data_movement"), ("gather", "data_movement"),
    ("pack", "data_movement"), ("squeeze", "data_movement"),
)  # fmt: skip


def _latencies(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for name in table.columns:
        found = COLUMN.fullmatch(name)
        if found:
            part = {"row": np.arange(len(table)), "column": name, "device": table["device"].astype(str).to_numpy()}
            part |= {"processor": found["processor"], "setting": found["setting"] or "", "precision": ""}
            parts.append(pd.DataFrame(part | {"latency": table[name].to_numpy()}))
    return joined(parts)


def _transfers(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    parts = [
        pd.DataFrame(
            {
                "row": np.arange(len(table)),
                "column": f"{source}_to_{target}_us",
                "device": table["device"].astype(str),
                "processor": target,
                "setting": f"from {source}",
                "precision": "",
                "latency": table[f"{source}_to_{target}_us"],
            }
        )
        for source, target in DIRECTIONS
    ]
    return joined(parts)


DIRECTIONS = (("cpu", "gpu"), ("gpu", "cpu"))
ORIGIN = "C. Xia et al., High Technology Letters 2022; github.com/summerspringwei/DAG-Scheduler"
LOST = (
    "rows measured with ACL: the table has no shapes of theirs",
    "windows of poolings, attributes of slices and paddings, and layout changes of MNN's own: no kernel without them",
    "strides: the ratio of input and output size is taken; padding: what the sizes need, the smaller half first",
    "activations fused behind an operator are not named; bias is taken to be there",
    "ordinary convolutions are taken to have one group",
    "raw samples: a record holds the one published latency",
)


def _shapes(row: dict[str, Any], column: str) -> tuple[Shape, ...]:
    """Shapes of `1,64,35,35;1,64,35,35`; a 0 stands for a dimension that is not there. CellError where it is none."""
    text = row[column]
    cells = [part.split(",") for part in text.split(";") if part.strip()] if isinstance(text, str) else []
    try:
        return tuple(tuple(int(dim) for dim in cell if dim.strip() and int(dim) > 0) for cell in cells)
    except ValueError as error:
        raise CellError(column, text, "no shapes such as 1,64,35,35;1,64,35,35") from error


def _described(row: dict[str, Any]) -> Described | str:
    """The operator of a row, or why the columns do not say which it is."""
    kind, inputs, outputs = str(row["op_type"]), _shapes(row, "in_shapes"), _shapes(row, "out_shape")
    if not inputs or not outputs or not all((*inputs, *outputs)):
        return "no shapes"
    x, y = inputs[0], outputs[0]
    if kind in ("Convolution", "ConvolutionDepthwise"):
        return _convolution(x, y, whole(row, "kh"), whole(row, "kw"), depthwise=kind == "ConvolutionDepthwise")
    if kind == "ReLU":
        return simple("Relu", x, output=y)
    if kind == "Softmax":
        return simple("Softmax", x, output=y, axis=-1)
    if kind == "Scale":
        return normalisation(x) if len(x) > 1 else "no channels"
    if kind in ("BinaryOp", "Eltwise") and len(inputs) == 2:
        found = next((op for part, op in NAMED if part in str(row["op_name"]).lower().rsplit("/", 1)[-1]), "")
        return simple(found, *inputs, output=y) if found else f"{kind}: which operation it is, its name does not say"
    if kind == "MatMul" and len(inputs) == 2:
        return Described(op_type="MatMul", inputs=inputs[:1], weights=inputs[1:], output=y)
    if kind == "Concat" and {len(shape) for shape in inputs} == {len(y)} and len(y) > 1:
        return simple("Concat", *inputs, output=y, axis=1)
    return f"{kind}: its attributes are not in the table"


def _convolution(x: Shape, y: Shape, kh: int, kw: int, *, depthwise: bool) -> Described | str:
    if len(x) != 4 or len(y) != 4 or not kh or not kw:
        return "a size or the window is missing"
    stride = max(round(x[2] / y[2]), 1) if y[2] > 1 else 1
    groups = x[1] if depthwise else 1
    if depthwise and y[1] % x[1]:
        return "a depthwise convolution whose channels do not fit"
    top, bottom = same_pads(x[2], y[2], window=kh, stride=stride)
    left, right = same_pads(x[3], y[3], window=kw, stride=stride)
    w = (y[1], x[1] // groups, kh, kw)
    return convolution(x, w, stride=stride, pads=(top, left, bottom, right), groups=groups, output=y)


NAMED = (("biasadd", "Add"), ("add", "Add"), ("mul", "Mul"))
"""Parts of an operator's own name -> what it computes."""


def _lane(setting: str) -> tuple[int, tuple[tuple[str, str], ...]]:
    """`big4` -> four threads on the big cores."""
    cluster, threads = setting.rstrip("0123456789"), setting.lstrip("abcdefghijklmnopqrstuvwxyz")
    return (int(threads), (("cores", cluster),)) if threads else (0, ())


OPERATORS = Source(
    name="hope_ops",
    level="kernel",
    origin=ORIGIN,
    licence="none stated",
    unit="us",
    columns=("engine", "model", "device", "op_index", "op_name", "op_type", "in_shapes", "out_shape", "kh", "kw"),
    key=("engine", "model", "device", "op_index"),
    latencies=_latencies,
    model="model",
    family=lambda table: families_of(table["op_type"], KINDS),
    mapping=Mapping(describe=_described, engine=lambda row: str(row["engine"]), lost=LOST, lane=_lane),
    note="Const, Shape and the like stand at 0 µs: those cells are refused; use operators over 5 µs",
)
TRANSFERS = Source(
    name="hope_transfer",
    level="transfer",
    origin=ORIGIN,
    licence="none stated",
    unit="us",
    columns=("engine", "model", "device", "tensor_shape", "elements", "cpu_to_gpu_us", "gpu_to_cpu_us"),
    key=("engine", "model", "device", "tensor_shape"),
    latencies=_transfers,
    model="model",
    note="copy and conversion of the layout together; `autotune datasets import-hope` makes recorded devices of it",
)
