"""Importers of latency tables of whole search spaces: NAS-Bench-201, FBNet, HAT's transformers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from autotune.datasets.public.source import Source, cells, joined

if TYPE_CHECKING:
    import pandas as pd

HELP = "H. Lee et al., HELP, NeurIPS 2021; github.com/HayeonLee/HELP"
COLUMN = re.compile(r"\w+?_ms_(?P<device>.+)")
ACCELERATORS = ("eyeriss", "fpga")
CPUS = ("gold", "silver", "pixel", "samsung", "essential", "raspi")


def processor_of(device: str) -> str:
    """What a device of HELP's tables is; all that are not named here are GPUs."""
    if device.startswith(ACCELERATORS):
        return "accelerator"
    return "cpu" if device.startswith(CPUS) else "gpu"


def _columns(table: pd.DataFrame) -> pd.DataFrame:
    found = [(name, match["device"]) for name in table.columns if (match := COLUMN.fullmatch(name))]
    return joined([cells(table, name, device=device, processor=processor_of(device)) for name, device in found])


def _transformers(table: pd.DataFrame) -> pd.DataFrame:
    """Encoder and decoder together; of a row with a part that is no latency that part alone, for `check` to refuse."""
    import pandas as pd

    parts = table[["enc_ms_mean", "dec_ms_mean"]]
    numbers = parts.apply(pd.to_numeric, errors="coerce")
    wrong = parts.notna() & ~(numbers > 0)
    bad = wrong.any(axis=1)
    column = wrong.idxmax(axis=1).where(bad, "enc_ms_mean + dec_ms_mean")
    latency = numbers.sum(axis=1, skipna=False).astype(object)
    device = table["device"].astype(str)
    gpu = device.str.contains("titan|gpu|tesla|rtx", case=False)
    return pd.DataFrame(
        {
            "row": np.arange(len(table)), "column": column, "device": device,
            "processor": np.where(gpu, "gpu", "cpu"), "setting": table["task"].astype(str), "precision": "",
            "latency": latency.where(~bad, parts.where(wrong).bfill(axis=1)["enc_ms_mean"]),
        }
    )  # fmt: skip


NB201 = Source(
    name="nb201_latency",
    level="model",
    origin=HELP + "; B. Lu et al., OneProxy, POMACS 2021",
    licence="MIT",
    unit="ms",
    columns=("arch_index", "arch_str"),
    key=("arch_index",),
    latencies=_columns,
    model="arch_str",
    note="eyeriss and fpga are estimates; pixel2, samsung_* and essential_ph_1 are whole milliseconds",
)
FBNET = Source(
    name="fbnet_latency_27cfg",
    level="model",
    origin=HELP,
    licence="MIT",
    unit="ms",
    columns=("arch_index", "op00", "op21"),
    key=("arch_index",),
    latencies=_columns,
    model="arch_index",
    note="pixel3, raspi4, eyeriss and fpga are sums of a table of blocks, not measured end to end",
)
ARCHITECTURE = (
    "encoder_embed_dim", "encoder_layer_num", "encoder_ffn_embed_dim_avg", "encoder_self_attention_heads_avg",
    "decoder_embed_dim", "decoder_layer_num", "decoder_ffn_embed_dim_avg", "decoder_self_attention_heads_avg",
    "decoder_ende_attention_heads_avg", "decoder_arbitrary_ende_attn_avg",
)  # fmt: skip
HAT = Source(
    name="hat_transformer_latency",
    level="model",
    origin="H. Wang et al., HAT, ACL 2020; github.com/mit-han-lab/hardware-aware-transformers",
    licence="MIT",
    unit="ms",
    columns=("task", "device", "encoder_embed_dim", "decoder_layer_num", "enc_ms_mean", "dec_ms_mean"),
    key=("task", "device", *ARCHITECTURE, "enc_ms_mean", "dec_ms_mean"),
    latencies=_transformers,
    model="task",
    parts=ARCHITECTURE,
    note="features are averages, so that different models can look alike",
    median_us=(7e3, 7e6),  # sentences word by word, on a Raspberry Pi too: 0.2 s
)
