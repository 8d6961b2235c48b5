"""Importer of HOPE's operator table, as latencies; `autotune.datasets.hope` makes recorded devices of the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from autotune.datasets.public.source import Source, families_of, joined

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


OPERATORS = Source(
    name="hope_ops",
    level="kernel",
    origin="C. Xia et al., High Technology Letters 2022; github.com/summerspringwei/DAG-Scheduler",
    licence="none stated",
    unit="us",
    columns=("engine", "model", "device", "op_index", "op_name", "op_type"),
    key=("engine", "model", "device", "op_index"),
    latencies=_latencies,
    model="model",
    family=lambda table: families_of(table["op_type"], KINDS),
    note="Const, Shape and the like stand at 0 µs: those cells are refused; use operators over 5 µs",
)
