"""Importers of the phone tables of Li, Paolieri and Golubchik (EdgeSys 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.datasets.public.operators import (
    Described,
    convolution,
    dense,
    normalisation,
    pooling,
    same_pads,
    simple,
)
from autotune.datasets.public.source import Mapping, Source, cells, families_of, joined, padding, whole

if TYPE_CHECKING:
    import pandas as pd

ORIGIN = "Z. Li, M. Paolieri, L. Golubchik, EdgeSys 2024; github.com/qed-usc/mobile-ml-benchmark"
PREFIX = "lat_us_"
KINDS = (
    ("depthwise", "depthwise"), ("conv", "convolution"), ("fully_connected", "matmul"), ("linear", "matmul"),
    ("pool", "pooling"), ("mean", "pooling"), ("batchnorm", "normalisation"), ("cat", "data_movement"),
    ("add", "elementwise"), ("mul", "elementwise"), ("relu", "elementwise"), ("clamp", "elementwise"),
    ("sigmoid", "elementwise"), ("swish", "elementwise"),
)  # fmt: skip


def _operators(table: pd.DataFrame) -> pd.DataFrame:
    return joined(
        [
            cells(table, name, device=name.removeprefix(PREFIX), processor="gpu")
            for name in table.columns
            if name.startswith(PREFIX)
        ]
    )


def _models(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "row": np.arange(len(table)), "column": "lat_us_mean", "device": table["device"].astype(str),
            "processor": table["processor"].astype(str),
            "setting": table["framework"].astype(str) + " " + table["cores"].astype(str),
            "precision": table["precision"].astype(str), "latency": table["lat_us_mean"],
        }
    )  # fmt: skip


LOST = (
    "batch and squareness: one image and square maps and windows are taken, as in the source's models",
    "padding on TFLite: what the sizes need is taken, the smaller half first",
    "what was fused behind an operator on the phone (kernel_<phone> names it) is not part of its kernel",
    "bias is taken to be there; values of weights are not known",
    "the precision that the GPU computed in is not stated: f32 is written",
    "raw samples: a record holds the one published latency",
)


def _described(row: dict[str, Any]) -> Described | str:
    """The operator of a row, or why the columns do not say which it is."""
    op = str(row["op"]).removeprefix("aten::").removeprefix("vulkan_prepack::")
    size, channels = whole(row, "in_hw"), whole(row, "in_c")
    out, out_c = whole(row, "out_hw"), whole(row, "out_c")
    window, stride, groups = whole(row, "kernel"), whole(row, "stride"), whole(row, "groups")
    x = (1, channels, size, size)
    if op in ("fully_connected", "run_linear_context"):
        return dense(1, channels, out_c) if channels and out_c else "a size is missing"
    if not size or not channels:
        return "a size is missing"
    if op.startswith(("conv_2d", "depthwise_conv_2d", "run_conv2d_context")):
        if not (out and out_c and window and stride and groups) or channels % groups:
            return "a size, the window, its stride or groups are missing or do not fit"
        y = (1, out_c, out, out)
        low, high = _pads(row, size, out, window, stride)
        w = (out_c, channels // groups, window, window)
        return convolution(x, w, stride=stride, pads=(low, low, high, high), groups=groups, output=y)
    if op in POOLS:
        if not (out and window and stride):
            return "the window or the output's size is missing"
        pads = _pads(row, size, out, window, stride)
        return pooling(POOLS[op], x, window=window, stride=stride, pads=pads, output=(1, channels, out, out))
    if op == "mean" and out in (1, channels):  # over all positions; the column holds what is left of the shape
        return simple("GlobalAveragePool", x, output=(1, channels, 1, 1))
    if op == "add":
        return simple("Add", x, x, output=x)
    if op == "run_batchnorm_context":
        return normalisation(x)
    return simple(UNARY[op], x, output=x) if op in UNARY else f"{op}: operands or attributes are not in the table"


def _pads(row: dict[str, Any], size: int, out: int, window: int, stride: int) -> tuple[int, int]:
    given = padding(row, "padding") if "padding" in row else None
    return same_pads(size, out, window=window, stride=stride) if given is None else (given, given)


POOLS = {
    "average_pool_2d": "AveragePool", "max_pool_2d": "MaxPool", "avg_pool2d": "AveragePool", "max_pool2d": "MaxPool",
}  # fmt: skip
UNARY = {"relu": "Relu", "sigmoid": "Sigmoid", "hardswish": "HardSwish"}

OPERATORS = Source(
    name="usc_mobile_gpu_ops",
    level="kernel",
    origin=ORIGIN,
    licence="MIT",
    unit="us",
    columns=("framework", "model", "op_index", "op", "in_hw", "in_c", "out_hw", "out_c", "kernel", "stride", "groups"),
    key=("framework", "model", "op_index"),
    latencies=_operators,
    model="model",
    family=lambda table: families_of(table["op"], KINDS),
    mapping=Mapping(
        describe=_described,
        engine=lambda row: "vulkan" if row["framework"] == "torch" else str(row["framework"]),
        lost=LOST,
    ),
    note="kernel_<phone> names the kernel that really ran; it is not known before a model was run",
)
MODELS = Source(
    name="usc_mobile_e2e",
    level="model",
    origin=ORIGIN,
    licence="MIT",
    unit="us",
    columns=("framework", "model", "device", "processor", "cores", "precision", "lat_us_mean"),
    key=("framework", "model", "device", "processor", "cores", "precision"),
    latencies=_models,
    model="model",
)
