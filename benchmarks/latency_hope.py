"""Tasks on HOPE's tables (Xia et al., High Technology Letters 2022): operators of graphs on phones' CPUs and GPUs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from latency_hope_limits import floor_known, models_learnt_from, repeats, speed_known
from latency_task import Mask, Outcome, Vector, errors, left_out, mean, say, untuned

from autotune.predictor.tables.on_prior import OnPrior, boosted
from autotune.predictor.tables.operators import OperatorTable, per_device
from autotune.predictor.tables.phone_graph import COLUMNS, phone_graph_table, rare_joined
from autotune.predictor.tables.phone_memory import with_memory
from autotune.predictor.tables.phone_slices import with_slices, with_threads
from autotune.predictor.tables.physical import fit_prior
from autotune.predictor.tables.run_floors import fit_floors

if TYPE_CHECKING:
    import pandas as pd

OPERATORS = "hope_ops.parquet"
TINY_US = 5.0
"""Operators such as Const and Shape: near 0 µs in the tables, and left out of every task."""
RAW = ("kh", "kw", "in_c", "in_h", "in_w", "out_c", "out_h", "out_w", "macs")
TARGETS = {"CPU": {"mape": 18.0, "within_10": 45.0}, "GPU": {"mape": 20.0, "within_10": 42.0}}
PULL = 1.0


def operators(folder: Path) -> Iterator[Outcome]:
    """Models left out, CPU (every number of big cores' threads) and GPU; then placement from both predictions."""
    import pandas as pd

    everything = pd.read_parquet(folder / OPERATORS)
    rows = everything[everything["graph_index"].notna() & everything["op_type"].notna()].reset_index(drop=True)
    device, model = (rows[name].to_numpy(dtype=str) for name in ("device", "model"))
    shapes = with_slices(phone_graph_table(rows[list(COLUMNS)]), rows)
    on_cpu = with_memory(shapes, rows)
    on_gpu = replace(per_device(with_threads(shapes, rows), device), family=shapes.family)
    threads = sorted(name for name in rows.columns if re.fullmatch(r"cpu_big\d+_us", name))
    gpus = sorted(name for name in rows.columns if re.fullmatch(r"gpu\w*_us", name))
    found: dict[str, dict[str, Any]] = {}
    for column in (*threads, *gpus):
        latency = rows[column].fillna(0.0).to_numpy(dtype=np.float64)
        learn = partial(_on_cpu, on_cpu, device) if column in threads else partial(_on_gpu, on_gpu, device, model)
        quick = partial(_prior, on_cpu, device) if column in threads else learn
        found[column] = _models_left_out(rows, latency, partial(learn, latency))
        found[column]["curve"] = models_learnt_from(
            model, device, latency, found[column]["known"], partial(quick, latency)
        )
        if column in gpus:
            expected = partial(_on_gpu, on_gpu, device, model, latency, expected=True)
            found[column]["expected"] = left_out(model, found[column]["known"], expected)[0]
            found[column]["floor known"] = floor_known(on_gpu, device, model, latency, found[column]["known"])
        say(
            f"  {column}: {errors(latency[found[column]['known']], found[column]['predicted'][found[column]['known']])}"
        )
    for kind, columns in (("CPU", threads), ("GPU", gpus)):
        if columns:
            yield _accuracy(kind, rows, {name: found[name] for name in columns})
    if threads and gpus:
        yield _placement(found, threads, gpus[0], rows["op_type"].to_numpy(dtype=str), model)


def _on_cpu(table: OperatorTable, device: Any, latency: Vector, train: Mask, test: Mask) -> Vector:
    table = per_device(rare_joined(table, train), device)
    fitted = OnPrior(trees=boosted, pull=PULL).fit(table.take(train), latency[train])
    return fitted.latency_us(table.take(test))


def _prior(table: OperatorTable, device: Any, latency: Vector, train: Mask, test: Mask) -> Vector:
    table = per_device(rare_joined(table, train), device)
    found: Vector = np.exp(fit_prior(table.take(train), latency[train], pull=PULL).log_us(table.take(test)))
    return found


def _on_gpu(
    table: OperatorTable, device: Any, model: Any, latency: Vector, train: Mask, test: Mask, *, expected: bool = False
) -> Vector:
    """NaN on phones that no other model ran on: nothing is known of their floors."""
    table = rare_joined(table, train)
    fitted = fit_floors(
        table.take(train), latency[train], run=model[train], device=device[train], trees=100 if expected else 0
    )
    found = np.full(len(device), np.nan)
    can = test & np.isin(device, device[train])
    found[can] = (fitted.expected_us if expected else fitted.latency_us)(table.take(can), device[can])
    return found[test]


def _models_left_out(rows: pd.DataFrame, latency: Vector, learn: Callable[[Mask, Mask], Vector]) -> dict[str, Any]:
    known = latency > TINY_US
    device, model = rows["device"].to_numpy(dtype=str), rows["model"].to_numpy(dtype=str)
    raw = np.column_stack(
        [rows[list(RAW)].to_numpy(dtype=np.float64), rows["op_type"].astype("category").cat.codes.to_numpy()]
    )

    def simple(train: Mask, test: Mask) -> Vector:
        return untuned(raw, latency, train, test)

    predicted, groups = left_out(model, known, learn)
    plain = np.full(len(rows), np.nan)
    for one in np.unique(device):
        own = device == one
        plain[own] = left_out(model[own], known[own], partial(_within, own, simple))[0]
    return {"latency": latency, "known": known, "predicted": predicted, "plain": plain, "groups": groups}


def _within(own: Mask, predict: Any, train: Mask, test: Mask) -> Vector:
    """Predictions where only one device's rows are looked at."""
    positions = np.flatnonzero(own)
    whole_train, whole_test = np.zeros(len(own), dtype=bool), np.zeros(len(own), dtype=bool)
    whole_train[positions[train]] = whole_test[positions[test]] = True
    found: Vector = predict(whole_train, whole_test)
    return found


def _accuracy(kind: str, rows: pd.DataFrame, found: dict[str, dict[str, Any]]) -> Outcome:
    device = rows["device"].to_numpy(dtype=str)
    by_device: dict[str, dict[str, float]] = {}
    rest: dict[str, list[dict[str, float]]] = {"simple": [], "ceiling": [], "floor": [], "speed": []}
    for column, one in found.items():
        noise = repeats(rows, one["latency"], one["known"])
        for name in np.unique(device[one["known"]]):
            own = one["known"] & (device == name) & np.isfinite(one["predicted"]) & np.isfinite(one["plain"])
            if not own.any():
                continue
            by_device[f"{column} {name}"] = errors(one["latency"][own], one["predicted"][own])
            rest["simple"].append(errors(one["latency"][own], one["plain"][own]))
            again = own & np.isfinite(noise)
            if again.any():
                rest["ceiling"].append(errors(one["latency"][again], noise[again]))
            if "floor known" in one:
                rest["floor"].append(errors(one["latency"][own], one["floor known"][own]))
            else:
                run = rows["model"].to_numpy(dtype=str)[own]
                even = speed_known(one["latency"][own], one["predicted"][own], run)
                rest["speed"].append(errors(one["latency"][own], even))
    detail: dict[str, Any] = {
        "by device": by_device,
        "learnt from so many models": {column: one["curve"] for column, one in found.items()},
    }
    if rest["ceiling"]:
        detail["equal operators of one run against their median"] = mean(rest["ceiling"])
    if rest["speed"]:
        detail["if the speed of each run were known"] = mean(rest["speed"])
    if rest["floor"]:
        detail["if the floor of each run were known"] = mean(rest["floor"])
    return Outcome(
        task=f"hope operators, models left out, {kind}",
        baseline=mean(rest["simple"]),
        reached=mean(list(by_device.values())),
        target=TARGETS[kind],
        n=sum(int((one["known"] & np.isfinite(one["predicted"])).sum()) for one in found.values()),
        folds=len(next(iter(found.values()))["groups"]),
        detail=detail,
        note="mean over devices and settings",
    )


def _placement(found: dict[str, dict[str, Any]], threads: list[str], gpu: str, op_type: Any, model: Any) -> Outcome:
    """Every operator on the processor that is predicted to be faster, over the faster one in truth; no transfers.

    A kind of operator that no other model ran on the GPU stays on the CPU. The row is that of the fewest threads, where
    both processors matter most; the others stand in the detail.
    """
    tried = found[gpu]["known"]
    untried = np.array([False] * len(model))
    for one in np.unique(model):
        untried[model == one] = ~np.isin(op_type[model == one], op_type[tried & (model != one)])
    rows = {cpu: _over_oracle(found[cpu], found[gpu], untried) for cpu in threads}
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


def _over_oracle(cpu: dict[str, Any], gpu: dict[str, Any], untried: Mask) -> dict[str, float]:
    """Percent over always choosing right, for both predictors and for one processor alone."""
    both = (cpu, gpu)
    known = np.all([one["known"] & np.isfinite(one["predicted"]) & np.isfinite(one["plain"]) for one in both], axis=0)
    truth = np.column_stack([one["latency"][known] for one in both])
    oracle = truth.min(axis=1).sum()

    def over(choice: Vector) -> float:
        return 100 * float(truth[np.arange(len(truth)), choice.astype(int)].sum() / oracle - 1)

    ours, simple = (cpu["predicted"] > gpu["expected"])[known], (cpu["plain"] > gpu["plain"])[known]
    chosen = {"ours": over(ours & ~untried[known]), "simple": over(simple)}
    chosen["ours, were the GPU's times known"] = over((cpu["predicted"] > gpu["latency"])[known] & ~untried[known])
    alone = {"all on the CPU": over(np.zeros(len(truth))), "all on the GPU": over(np.ones(len(truth)))}
    return chosen | alone | {"operators": float(len(truth))}
