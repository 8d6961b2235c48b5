"""NAS-Bench-201 on a new device from ten measured models: HELP's protocol (Lee et al., NeurIPS 2021)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from latency_task import Outcome, Vector, say

from autotune.predictor.tables.few_shot import (
    FewShotSettings,
    adapt,
    basis,
    choose_references,
    hardware,
    tune,
)

TABLE = "nb201_latency.parquet"
SAMPLES = 10
HELP_NEW = ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
HELP_KNOWN = (
    "1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1",
    "samsung_s7",
)  # fmt: skip
"""HELP's split; used where the table has those devices, else every device is new once and all others are known."""


def devices(folder: Path) -> Iterator[Outcome]:
    """Mean rank correlation over new devices."""
    import pandas as pd
    from scipy.stats import spearmanr

    table = pd.read_parquet(folder / TABLE)
    latency: dict[str, Vector] = {}
    for column in table.columns:
        found_name = re.fullmatch(r"\w+?_ms_(.+)", column)
        if found_name is None:
            continue
        values = table[column].to_numpy(dtype=np.float64)
        if np.isfinite(values).all() and (values > 0).all():
            latency[found_name[1]] = values
    choices = table[[name for name in table.columns if re.fullmatch(r"e\d\d", name)]].to_numpy(dtype=np.int64)
    new = [name for name in HELP_NEW if name in latency]
    protocol = "HELP's six devices" if len(new) == len(HELP_NEW) else f"HELP's devices that are here: {', '.join(new)}"
    if not new:
        new, protocol = sorted(latency), "every device new once: none of HELP's six is here"
    help_known = [name for name in HELP_KNOWN if name in latency]
    found: dict[str, float] = {}
    tuned: dict[tuple[str, ...], FewShotSettings] = {}
    plain: dict[str, float] = {}
    for device in new:
        known = help_known if len(help_known) >= 3 and device not in help_known else list(latency)
        known = [name for name in known if hardware(name) != hardware(device)]
        if not known:
            say(f"  {device}: skipped, no other device is known")
            continue
        if tuple(known) not in tuned:
            tuned[tuple(known)] = tune({name: latency[name] for name in known}, choices, SAMPLES)
        settings = tuned[tuple(known)]
        phi = basis(np.column_stack([latency[name] for name in known]), choices, settings)
        chosen = choose_references(phi, settings, SAMPLES)
        predicted = adapt(phi, settings, chosen, latency[device][chosen])
        rest = np.setdiff1d(np.arange(len(table)), chosen)
        found[device] = float(spearmanr(predicted[rest], latency[device][rest]).statistic)
        plain[device] = float(spearmanr(table["macs_m"].to_numpy()[rest], latency[device][rest]).statistic)
        say(f"  {device}: {found[device]:.4f}")
    if not found:
        return
    yield Outcome(
        task=f"nb201, {SAMPLES} samples",
        baseline={"spearman": float(np.mean(list(plain.values())))},
        reached={"spearman": float(np.mean(list(found.values())))},
        target={"spearman": 0.945},
        n=(len(table) - SAMPLES) * len(found),
        folds=len(found),
        detail={"by device": found, "settings": {repr(settings): len(names) for names, settings in tuned.items()}},
        note=f"{protocol}; baseline: FLOPs (HELP itself: 0.932)",
    )
