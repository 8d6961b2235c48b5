"""Importers of the phone tables of Li, Paolieri and Golubchik (EdgeSys 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autotune.datasets.public.source import Source, cells, families_of, joined

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
            "processor": table["processor"].astype(str), "setting": table["cores"].astype(str),
            "precision": table["precision"].astype(str), "latency": table["lat_us_mean"],
        }
    )  # fmt: skip


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
