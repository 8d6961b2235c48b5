"""Search spaces on a new device from a few measured models: HELP's protocol and devices (Lee et al., NeurIPS 2021).

Two rows for each number of samples. The first may use whatever a user has who owns the tables: every model's latency on
the known devices, and a choice of what to measure. The second has what HELP has: 900 models per known device and
references that are drawn at random.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from latency_task import Outcome, Vector, say

from autotune.predictor.tables.few_shot import (
    FewShotSettings,
    adapt,
    basis,
    choose_references,
    hardware,
    tune,
)

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = (10, 20)
SHOWN = 900
"""Models whose latency HELP knows on each known device."""
DRAWS = 5
"""How often models and references are drawn."""
HELP_NEW = ("titan_rtx_{batch}", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
HELP_KNOWN = (
    "1080ti_1", "1080ti_32", "1080ti_{batch}", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1",
    "samsung_s7",
)  # fmt: skip
"""HELP's split; used where the table has those devices, else every device is new once and all others are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A search space whose models were measured on many devices.

    Args:
        name: as the rows call it.
        table: its file.
        choices: pattern of the columns that say which operator stands where.
        batch: the largest batch of HELP's devices.
        targets: samples -> mean rank correlation asked for.
    """

    name: str
    table: str
    choices: str
    batch: int
    targets: dict[int, float]


NB201 = Space(name="nb201", table="nb201_latency.parquet", choices=r"e\d\d", batch=256, targets={10: 0.945})
FBNET = Space(name="fbnet", table="fbnet_latency_27cfg.parquet", choices=r"op\d\d", batch=64, targets={})
Choices = npt.NDArray[np.int64]


def nb201(folder: Path) -> Iterator[Outcome]:
    """NAS-Bench-201."""
    return _rows(folder, NB201)


def fbnet(folder: Path) -> Iterator[Outcome]:
    """FBNet's space."""
    return _rows(folder, FBNET)


def _rows(folder: Path, space: Space) -> Iterator[Outcome]:
    import pandas as pd

    table = pd.read_parquet(folder / space.table)
    for samples in SAMPLES:
        for as_help in (False, True):
            yield from _row(table, space, samples, as_help=as_help)


def _latencies(table: pd.DataFrame) -> dict[str, Vector]:
    """By device, ms; only devices that measured every model."""
    found: dict[str, Vector] = {}
    for column in table.columns:
        name = re.fullmatch(r"\w+?_ms_(.+)", column)
        values = table[column].to_numpy(dtype=np.float64) if name else np.zeros(1)
        if name and np.isfinite(values).all() and (values > 0).all():
            found[name[1]] = values
    return found


def _row(table: pd.DataFrame, space: Space, samples: int, *, as_help: bool) -> Iterator[Outcome]:
    """Mean rank correlation over new devices."""
    latency = _latencies(table)
    places = [name for name in table.columns if re.fullmatch(space.choices, name)]
    choices = table[places].to_numpy(dtype=np.int64)
    new, help_known = (
        [name for name in (one.format(batch=space.batch) for one in names) if name in latency]
        for names in (HELP_NEW, HELP_KNOWN)
    )
    found: dict[str, list[float]] = {}
    plain: dict[str, list[float]] = {}
    ready: dict[tuple[object, ...], Prior] = {}
    for device in new or sorted(latency):
        names = help_known if len(help_known) >= 3 and device not in help_known else list(latency)
        known = {name: latency[name] for name in names if hardware(name) != hardware(device)}
        if not known:
            say(f"  {device}: skipped, no other device is known")
            continue
        for draw in range(DRAWS) if as_help else (None,):
            key = (draw, *known)
            ready[key] = ready[key] if key in ready else _prior(known, choices, samples, draw)
            chosen = _references(ready[key], samples, draw)
            predicted = adapt(ready[key].phi, ready[key].settings, chosen, latency[device][chosen])
            rest = np.setdiff1d(np.arange(len(table)), chosen)
            found.setdefault(device, []).append(_ranks(predicted[rest], latency[device][rest]))
            simple = table["macs_m"].to_numpy() if "macs_m" in table else ready[key].usual
            plain.setdefault(device, []).append(_ranks(simple[rest], latency[device][rest]))
        say(f"  {device}: {np.mean(found[device]):.4f}")
    if found:
        yield Outcome(
            task=f"{space.name}, {samples} samples" + (", as HELP draws them" if as_help else ""),
            baseline={"spearman": float(np.mean(list(plain.values())))},
            reached={"spearman": float(np.mean(list(found.values())))},
            target={"spearman": space.targets[samples]} if samples in space.targets else {},
            n=(len(table) - samples) * len(found),
            folds=len(found),
            detail={
                "by device": {device: float(np.mean(own)) for device, own in found.items()},
                "settings": dict(Counter(repr(one.settings) for one in ready.values())),
            },
            note=_note(new, simple="FLOPs" if "macs_m" in table else "mean of the known devices", as_help=as_help),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prior:
    """What is known before the new device.

    Args:
        phi: `basis` of the known devices.
        settings: those that do best on known devices.
        usual: [n] mean of the known devices, in logarithms.
    """

    phi: Vector
    settings: FewShotSettings
    usual: Vector


def _prior(known: dict[str, Vector], choices: Choices, samples: int, draw: int | None) -> Prior:
    """From every model's latency on the known devices, or (a number of a draw) from those of `SHOWN` models."""
    everything = np.arange(len(choices))
    shown = everything if draw is None else np.random.default_rng(draw).permutation(everything)[:SHOWN]
    settings = tune({name: ms[shown] for name, ms in known.items()}, choices[shown], samples)
    if draw is not None:
        known = {name: _completed(ms, choices, shown) for name, ms in known.items()}
    table = np.column_stack(list(known.values()))
    return Prior(phi=basis(table, choices, settings), settings=settings, usual=np.log(table).mean(axis=1))


def _completed(latency: Vector, choices: Choices, shown: Choices) -> Vector:
    """The latencies of the models shown; of the others what a regression on their operators makes of them.

    It is a line, with trees on what that leaves over where a third of the models shown is then ranked better.
    """
    rows = np.concatenate([choices == kind for kind in np.unique(choices)], axis=1).astype(np.float64)
    log, third = np.log(latency), len(shown) // 3
    held, rest = shown[:third], shown[third:]
    tried = [_ranks(_regressed(rows, log, rest, trees=trees)[held], log[held]) for trees in (False, True)]
    found = np.exp(_regressed(rows, log, shown, trees=tried[1] > tried[0]))
    found[shown] = latency[shown]
    return found


def _regressed(rows: Vector, log: Vector, known: Choices, *, trees: bool) -> Vector:
    from sklearn.linear_model import Ridge
    from xgboost import XGBRegressor

    found: Vector = Ridge(alpha=1.0).fit(rows[known], log[known]).predict(rows)
    if trees:
        found = found + XGBRegressor(n_jobs=1).fit(rows[known], (log - found)[known]).predict(rows)
    return found


def _references(prior: Prior, samples: int, draw: int | None) -> npt.NDArray[np.intp]:
    """[samples] models to measure on the new device."""
    if draw is None:
        return choose_references(prior.phi, prior.settings, samples)
    return np.random.default_rng((draw, samples)).permutation(len(prior.phi))[:samples]


def _ranks(predicted: Vector, truth: Vector) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(predicted, truth).statistic)


def _note(new: list[str], *, simple: str, as_help: bool) -> str:
    if not new:
        protocol = "every device new once: none of HELP's six is here"
    elif len(new) < len(HELP_NEW):
        protocol = f"HELP's devices that are here: {', '.join(new)}"
    else:
        protocol = "HELP's six devices"
    told = (
        f"as HELP: {SHOWN} models of each known device are known, the samples drawn at random; mean of {DRAWS} draws"
        if as_help
        else "other than HELP: every model of the known devices is known, and the samples are chosen from those alone"
    )
    return f"{protocol}; {told}; baseline: {simple}"
