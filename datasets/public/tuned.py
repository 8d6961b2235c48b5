"""Importers of Qualcomm's AI Hub (whole models on phones' NPUs) and TVM's TopHub (operators, best tuned)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autotune.datasets.public.source import Source, families_of

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
    note="keep the runtimes qnn_dlc, onnx and tflite",
)
TOPHUB = Source(
    name="tophub_autotvm_tuned",
    level="kernel",
    origin="T. Chen et al., NeurIPS 2018; github.com/tlc-pack/tophub",
    licence="none stated",
    unit="us",
    columns=("file", "device", "kind", "task", "dtype", "in_shape", "w_shape", "lat_us", "depthwise"),
    key=("file", "device", "kind", "task", "dtype", "in_shape", "w_shape", "stride", "pad", "dilation"),
    latencies=_tuned,
    model="file",
    family=lambda table: families_of(table["task"].where(~table["depthwise"].astype(bool), "depthwise"), KINDS),
)
