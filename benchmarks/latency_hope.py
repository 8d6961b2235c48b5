"""Tasks on HOPE's tables (Xia et al., High Technology Letters 2022): operators of graphs on phones' CPUs and GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from latency_task import Mask, Outcome, Vector, errors, left_out, mean, say, untuned

from autotune.predictor.tables.blended import BlendedLearner
from autotune.predictor.tables.operators import OperatorTable, per_device
from autotune.predictor.tables.phone_graph import COLUMNS, phone_graph_table

if TYPE_CHECKING:
    import pandas as pd

OPERATORS = "hope_ops.parquet"
TINY_US = 5.0
"""Operators such as Const and Shape: near 0 µs in the tables, and left out of every task."""
RAW = ("kh", "kw", "in_c", "in_h", "in_w", "out_c", "out_h", "out_w", "macs")
LEARNER = BlendedLearner(rounds=250, depth=5, rate=0.06, trees=100, leaf=3, smooth=0.0)


def operators(folder: Path) -> Iterator[Outcome]:
    """Models left out, CPU (every number of big cores' threads) and GPU; then placement from both predictions."""
    import pandas as pd

    everything = pd.read_parquet(folder / OPERATORS)
    rows = everything[everything["graph_index"].notna() & everything["op_type"].notna()].reset_index(drop=True)
    table = per_device(phone_graph_table(rows[list(COLUMNS)]), rows["device"].to_numpy(dtype=str))
    threads = sorted(name for name in rows.columns if re.fullmatch(r"cpu_big\d+_us", name))
    gpus = sorted(name for name in rows.columns if re.fullmatch(r"gpu\w*_us", name))
    found = {column: _models_left_out(rows, table, column) for column in (*threads, *gpus)}
    targets = {"CPU": {"mape": 18.0, "within_10": 45.0}, "GPU": {"mape": 20.0, "within_10": 42.0}}
    for kind, columns in (("CPU", threads), ("GPU", gpus)):
        if columns:
            yield _accuracy(kind, rows, {name: found[name] for name in columns}, targets[kind])
    if threads and gpus:
        yield _placement(found, threads, gpus[0])


def _models_left_out(rows: pd.DataFrame, table: OperatorTable, column: str) -> dict[str, Any]:
    latency = rows[column].fillna(0.0).to_numpy(dtype=np.float64)
    known = latency > TINY_US
    device, model = rows["device"].to_numpy(dtype=str), rows["model"].to_numpy(dtype=str)
    raw = np.column_stack(
        [rows[list(RAW)].to_numpy(dtype=np.float64), rows["op_type"].astype("category").cat.codes.to_numpy()]
    )

    def learn(train: Mask, test: Mask) -> Vector:
        return LEARNER.fit(table.take(train), latency[train]).latency_us(table.take(test))

    def simple(train: Mask, test: Mask) -> Vector:
        return untuned(raw, latency, train, test)

    predicted, groups = left_out(model, known, learn)
    plain = np.full(len(rows), np.nan)
    for one in np.unique(device):
        own = device == one
        plain[own] = left_out(model[own], known[own], partial(_within, own, simple))[0]
    say(f"  {column}: {errors(latency[known], predicted[known])}")
    return {"latency": latency, "known": known, "predicted": predicted, "plain": plain, "groups": groups}


def _within(own: Mask, predict: Any, train: Mask, test: Mask) -> Vector:
    """Predictions where only one device's rows are looked at."""
    positions = np.flatnonzero(own)
    whole_train, whole_test = np.zeros(len(own), dtype=bool), np.zeros(len(own), dtype=bool)
    whole_train[positions[train]] = whole_test[positions[test]] = True
    found: Vector = predict(whole_train, whole_test)
    return found


def _accuracy(kind: str, rows: pd.DataFrame, found: dict[str, dict[str, Any]], target: dict[str, float]) -> Outcome:
    device, model = rows["device"].to_numpy(dtype=str), rows["model"].to_numpy(dtype=str)
    by_device: dict[str, dict[str, float]] = {}
    reached: list[dict[str, float]] = []
    simple: list[dict[str, float]] = []
    ceiling: list[dict[str, float]] = []
    for column, one in found.items():
        for name in np.unique(device[one["known"]]):
            own = one["known"] & (device == name) & np.isfinite(one["predicted"]) & np.isfinite(one["plain"])
            if not own.any():
                continue
            by_device[f"{column} {name}"] = errors(one["latency"][own], one["predicted"][own])
            reached.append(by_device[f"{column} {name}"])
            simple.append(errors(one["latency"][own], one["plain"][own]))
            ceiling.append(_without_shift(one, own, model))
    return Outcome(
        task=f"hope operators, models left out, {kind}",
        baseline=mean(simple),
        reached=mean(reached),
        target=target,
        n=sum(int((one["known"] & np.isfinite(one["predicted"])).sum()) for one in found.values()),
        folds=len(next(iter(found.values()))["groups"]),
        detail={"by device": by_device, "if each model's own shift were known": mean(ceiling)},
        note="mean over devices and settings",
    )


def _without_shift(one: dict[str, Any], own: Mask, model: Any) -> dict[str, float]:
    """Errors if the median ratio of each model on the device were known: what a run's own speed costs."""
    ratio = one["predicted"][own] / one["latency"][own]
    for name in np.unique(model[own]):
        at = model[own] == name
        ratio[at] /= np.median(ratio[at])
    return errors(np.ones(len(ratio)), ratio)


def _placement(found: dict[str, dict[str, Any]], threads: list[str], gpu: str) -> Outcome:
    """Every operator on the processor that is predicted to be faster, over the faster one in truth; no transfers.

    The row is that of the fewest threads, where both processors matter most; the others stand in the detail.
    """
    rows = {cpu: _over_oracle(found[cpu], found[gpu]) for cpu in threads}
    first = rows[threads[0]]
    return Outcome(
        task="hope placement per operator, over the oracle",
        baseline={"over_oracle": first["simple"]},
        reached={"over_oracle": first["ours"]},
        target={"over_oracle": 1.0},
        n=int(first["operators"]),
        folds=len(found[gpu]["groups"]),
        detail={"by threads": rows},
        note=f"percent, {threads[0]} and {gpu}, models left out",
    )


def _over_oracle(cpu: dict[str, Any], gpu: dict[str, Any]) -> dict[str, float]:
    """Percent over always choosing right, for both predictors and for one processor alone."""
    both = (cpu, gpu)
    known = np.all([one["known"] & np.isfinite(one["predicted"]) & np.isfinite(one["plain"]) for one in both], axis=0)
    truth = np.column_stack([one["latency"][known] for one in both])
    oracle = truth.min(axis=1).sum()

    def over(choice: Vector) -> float:
        return 100 * float(truth[np.arange(len(truth)), choice.astype(int)].sum() / oracle - 1)

    chosen = {
        name: over(np.argmin(np.column_stack([one[which][known] for one in both]), axis=1))
        for name, which in (("ours", "predicted"), ("simple", "plain"))
    }
    alone = {"all on the CPU": over(np.zeros(len(truth))), "all on the GPU": over(np.ones(len(truth)))}
    return chosen | alone | {"operators": float(len(truth))}
