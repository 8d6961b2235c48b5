"""Importers of Qualcomm's AI Hub (whole models on phones' NPUs) and TVM's TopHub (operators, best tuned)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.datasets.public.operators import Described, convolution, dense
from autotune.datasets.public.source import Mapping, Source, families_of, padding, whole

if TYPE_CHECKING:
    import pandas as pd

UNITS_OF_HUB = {"NPU": "npu", "GPU": "gpu", "CPU": "cpu"}
KINDS = (("depthwise", "depthwise"), ("conv", "convolution"), ("dense", "matmul"), ("matmul", "matmul"))


def _hub(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    unit = table["primary_compute_unit"].astype(str)
    return pd.DataFrame(
        {
            "row": np.arange(len(table)), "column": "latency_ms", "device": table["device"].astype(str),
            "processor": unit.map(UNITS_OF_HUB).fillna(unit), "setting": table["runtime"].astype(str),
            "precision": table["precision"].astype(str), "latency": table["latency_ms"],
        }
    )  # fmt: skip


def _tuned(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "row": np.arange(len(table)), "column": "lat_us", "device": table["device"].astype(str),
            "processor": table["kind"].astype(str).map(_kind), "setting": table["task"].astype(str),
            "precision": table["dtype"].astype(str), "latency": table["lat_us"],
        }
    )  # fmt: skip


def _kind(text: str) -> str:
    lower = text.lower()
    return next((name for name in ("cpu", "gpu") if name in lower), lower)


LOST = (
    "transposed convolutions and products of batches: their attributes are not in the table",
    "layouts packed for VTA, and integers: lanes here compute in f32, f16 or bf16",
    "which template was tuned, but for Winograd's algorithm (`algorithm=winograd` in the lane), and its configuration",
    "activations and bias: TVM tunes the operator alone",
    "raw samples: a record holds the latency of the best configuration",
)


def _shape(text: object) -> tuple[int, ...]:
    try:
        dims = json.loads(str(text))
    except ValueError:
        return ()
    return tuple(dims) if isinstance(dims, list) and all(isinstance(dim, int) and dim > 0 for dim in dims) else ()


def _described(row: dict[str, Any]) -> Described | str:
    """The operator of a row, or why the columns do not say which it is."""
    task, dtype = str(row["task"]), str(row["dtype"])
    x, w = _shape(row["in_shape"]), _shape(row["w_shape"])
    if dtype not in ("float32", "float16"):
        return f"{dtype}: no precision of a lane"
    if task.startswith("dense") and len(x) == len(w) == 2:
        return dense(x[0], x[1], w[0], bias=False, dtype=dtype)
    stride, dilation, pad = whole(row, "stride"), whole(row, "dilation"), padding(row, "pad")
    if not task.startswith(("conv2d_nchw", "conv2d_NCHW", "depthwise_conv2d")) or len(x) != 4 or len(w) != 4:
        return f"{task}: its attributes are not in the table"
    if not stride or not dilation or pad is None:
        return "stride, padding or dilation are missing"
    groups = x[1] if task.startswith("depthwise") else 1
    weights = (w[0] * w[1], 1, *w[2:]) if groups > 1 else w
    pads = (pad,) * 4
    return convolution(x, weights, stride=stride, pads=pads, groups=groups, dilation=dilation, bias=False, dtype=dtype)


def _lane(setting: str) -> tuple[int, tuple[tuple[str, str], ...]]:
    return 0, (("algorithm", "winograd"),) if "winograd" in setting else ()


HUB = Source(
    name="qaihub_npu_latency",
    level="model",
    origin="qai-hub-models 0.65.0",
    licence="BSD-3-Clause",
    unit="ms",
    columns=("model", "component", "precision", "device", "runtime", "latency_ms", "primary_compute_unit"),
    key=("model", "component", "precision", "device", "runtime"),
    latencies=_hub,
    model="model",
    parts=("component",),
    note="keep the runtimes qnn_dlc, onnx and tflite",
)
TOPHUB = Source(
    name="tophub_autotvm_tuned",
    level="kernel",
    origin="T. Chen et al., NeurIPS 2018; github.com/tlc-pack/tophub",
    licence="none stated",
    unit="us",
    columns=(
        "file", "device", "kind", "task", "dtype", "in_shape", "w_shape", "stride", "pad", "dilation", "lat_us",
        "depthwise",
    ),
    key=("file", "device", "kind", "task", "dtype", "in_shape", "w_shape", "stride", "pad", "dilation"),
    latencies=_tuned,
    model="file",
    mapping=Mapping(describe=_described, engine=lambda _: "tvm", lost=LOST, lane=_lane),
    family=lambda table: families_of(table["task"].where(~table["depthwise"].astype(bool), "depthwise"), KINDS),
)  # fmt: skip
