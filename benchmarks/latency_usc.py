"""Tasks on the tables of Li, Paolieri and Golubchik (EdgeSys 2024): operators and models on phones' GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from latency_task import Mask, Outcome, Vector, errors, folds, left_out, mean, say, untuned

from autotune.predictor.tables.fusion import NAMES, fused_counts, guess_fused, surroundings
from autotune.predictor.tables.mobile_gpu import mobile_gpu_table
from autotune.predictor.tables.new_device import KnownDevices
from autotune.predictor.tables.on_prior import OnPrior, randomised
from autotune.predictor.tables.physical import fit_prior
from autotune.predictor.tables.whole_model import MIN_MODELS, ModelLearner, models_table

if TYPE_CHECKING:
    import pandas as pd

OPERATORS = "usc_mobile_gpu_ops.parquet"
MODELS = "usc_mobile_e2e.parquet"
MEASURED = 100
CURVE = (0.25, 0.5, 1.0)
"""Shares of the models for the learning curve."""
RAW = ("in_hw", "in_c", "out_hw", "out_c", "kernel", "stride", "groups", "padding", "flops")
SHAPE = ("op", "in_hw", "in_c", "out_hw", "out_c", "kernel", "stride", "groups")
PREFIX = "lat_us_"
KERNEL = "kernel_"


def read(folder: Path, framework: str) -> pd.DataFrame:
    """The operators of one framework."""
    import pandas as pd

    table = pd.read_parquet(folder / OPERATORS)
    return table[table["framework"] == framework].reset_index(drop=True)


def phones(table: pd.DataFrame) -> list[str]:
    """Phones that measured any of these rows."""
    return [name.removeprefix(PREFIX) for name in table.columns if name.startswith(PREFIX) and (table[name] > 0).any()]


def raw_rows(table: pd.DataFrame) -> Vector:
    """What the untuned baseline sees: the columns as they are."""
    codes = table["op"].astype("category").cat.codes.to_numpy(dtype=np.float64)
    return np.column_stack([table[list(RAW)].to_numpy(dtype=np.float64), codes])


def unseen_shapes(table: pd.DataFrame, known: Mask) -> Mask:
    """Rows whose shape no row of another fold has."""
    shape = table[list(SHAPE)].fillna(-1.0).astype(str).agg("|".join, axis=1).to_numpy(dtype=str)
    found, fold = np.zeros(len(table), dtype=bool), folds(table)
    for one in np.unique(fold):
        own = fold == one
        found[own] = ~np.isin(shape[own], shape[known & ~own])
    return found


@cache
def operators_predicted(folder: Path) -> dict[str, dict[str, Vector]]:
    """TensorFlow Lite's operators by phone: true, predicted with their fold left out, by the untuned baseline."""
    table = read(folder, "tflite")
    features, raw, fold = mobile_gpu_table(table), raw_rows(table), folds(table)
    around, model = surroundings(table), table["model"].to_numpy(dtype=str)
    found: dict[str, dict[str, Vector]] = {}
    for phone in phones(table):
        latency = table[PREFIX + phone].to_numpy(dtype=np.float64)
        known = np.isfinite(latency) & (latency > 0)
        counts = fused_counts(table[KERNEL + phone]) if KERNEL + phone in table else np.zeros((len(table), len(NAMES)))

        def learn(train: Mask, test: Mask, latency: Vector = latency, counts: Vector = counts) -> Vector:
            fused = guess_fused(around, counts, model, train)
            seen = features.with_features(dict(zip(NAMES, fused.T, strict=True)))
            return OnPrior().fit(seen.take(train), latency[train]).latency_us(seen.take(test))

        def simple(train: Mask, test: Mask, latency: Vector = latency) -> Vector:
            return untuned(raw, latency, train, test)

        predicted, plain = (left_out(fold, known, predict)[0] for predict in (learn, simple))
        found[phone] = {"true": latency, "ours": predicted, "simple": plain}
        judged = known & np.isfinite(predicted)
        say(f"  {phone}: {errors(latency[judged], predicted[judged])}")
    return found


def operators(folder: Path) -> Iterator[Outcome]:
    """Operators of models left out, all of them and those of unseen shapes."""
    table = read(folder, "tflite")
    found = operators_predicted(folder)
    curves = learning_curve(table, next(iter(found.values()))["true"]) if found else {}
    for name, target, only_unseen in (
        ("usc operators, models left out", {"mape": 5.0, "within_10": 88.0}, False),
        ("usc operators, unseen shapes", {"mape": 7.5, "within_10": 78.0}, True),
    ):
        reached: dict[str, dict[str, float]] = {}
        simple: list[dict[str, float]] = []
        count = 0
        for phone, one in found.items():
            rows = np.isfinite(one["ours"]) & (unseen_shapes(table, one["true"] > 0) if only_unseen else True)
            if rows.any():
                reached[phone] = errors(one["true"][rows], one["ours"][rows])
                simple.append(errors(one["true"][rows], one["simple"][rows]))
                count += int(rows.sum())
        if not reached:
            say(f"{name}: nothing to judge")
            continue
        noise = {phone: repeats(table, one["true"]) for phone, one in found.items()}
        yield Outcome(
            task=name,
            baseline=mean(simple),
            reached=mean(list(reached.values())),
            target=target,
            n=count,
            folds=len(np.unique(folds(table))),
            detail={
                "by phone": reached,
                "equal shapes against their median": noise,
                "learnt from so many models, trees only": curves[only_unseen],
            },
        )


def learning_curve(table: pd.DataFrame, latency: Vector) -> dict[bool, dict[str, dict[str, float]]]:
    """Errors on one phone when only some models are learnt from; those on unseen shapes under True.

    Shapes are unseen where no model outside their fold has them, however few were learnt from.
    """
    features, fold, model = mobile_gpu_table(table), folds(table), table["model"].to_numpy(dtype=str)
    known = np.isfinite(latency) & (latency > 0)
    unseen, names = unseen_shapes(table, known), np.random.default_rng(0).permutation(np.unique(model[known]))
    curve: dict[bool, dict[str, dict[str, float]]] = {False: {}, True: {}}
    for share in CURVE:
        shown = np.isin(model, names[: max(int(share * len(names)), 2)])

        def learn(train: Mask, test: Mask, shown: Mask = shown) -> Vector:
            learner = OnPrior(trees=partial(randomised, trees=40))
            return learner.fit(features.take(train & shown), latency[train & shown]).latency_us(features.take(test))

        predicted = left_out(fold, known, learn)[0]
        for only_unseen, part in curve.items():
            rows = known & np.isfinite(predicted) & (unseen | (not only_unseen))
            part[str(len(np.unique(model[known & shown])))] = errors(latency[rows], predicted[rows])
    return curve


def repeats(table: pd.DataFrame, latency: Vector) -> dict[str, float]:
    """Errors of the median over operators of one shape: what no predictor from shapes can beat."""
    measured = table.assign(us=latency)[latency > 0]
    grouped = measured.groupby(list(SHAPE), dropna=False)["us"]
    again = grouped.transform("size") > 1
    if not again.any():
        return {}
    return errors(measured["us"][again].to_numpy(), grouped.transform("median")[again].to_numpy())


def models(folder: Path) -> Iterator[Outcome]:
    """Whole models left out, from their operators' measured latencies; beside it from predicted ones."""
    import pandas as pd

    whole = pd.read_parquet(folder / MODELS)
    whole = whole[(whole["processor"] == "gpu") & (whole["lat_us_mean"] > 0)]
    reached: dict[str, dict[str, float]] = {}
    predicted: dict[str, dict[str, float]] = {}
    simple: list[dict[str, float]] = []
    count = parts = 0
    for framework in sorted(map(str, whole["framework"].unique())):
        table = read(folder, framework)
        for phone in phones(table):
            true = whole[(whole["framework"] == framework) & (whole["device"] == phone)].groupby("model", observed=True)
            wanted = true["lat_us_mean"].first().astype(float)
            latency = table[PREFIX + phone].to_numpy(dtype=np.float64)
            rows = (latency > 0) & np.isin(table["model"], wanted.index)
            if table[rows]["model"].nunique() < 2 * MIN_MODELS:
                continue
            one = _models_of(table[rows], latency[rows], KERNEL + phone, wanted)
            reached[f"{phone} {framework}"] = errors(one["true"], one["ours"])
            simple.append(errors(one["true"], one["simple"]))
            count, parts = count + len(one["true"]), max(parts, len(np.unique(folds(table))))
            if framework == "tflite":
                guessed = operators_predicted(folder)[phone]["ours"]
                if np.isfinite(guessed[rows]).all():
                    other = _models_of(table[rows], guessed[rows], KERNEL + phone, wanted)
                    predicted[phone] = errors(other["true"], other["ours"])
    if reached:
        yield Outcome(
            task="usc whole models on the GPU, from operators",
            baseline=mean(simple),
            reached=mean(list(reached.values())),
            target={"mape": 3.0, "within_10": 97.0},
            n=count,
            folds=parts,
            detail={"by phone": reached, "operators predicted too": predicted},
            note="measured operators; baseline: a line through their sum",
        )


def _models_of(rows: pd.DataFrame, latency: Vector, kernel: str, wanted: pd.Series[float]) -> dict[str, Vector]:
    operators = mobile_gpu_table(rows)  # its column `kernel` is the window's size, that of `models_table` the name
    rows = rows.assign(kernel=rows.get(kernel, "")).reset_index(drop=True)
    names, table = models_table(rows, operators, latency)
    true: Vector = np.asarray(wanted.loc[names], dtype=np.float64)
    fold = rows.assign(part=folds(rows)).groupby("model")["part"].first().loc[names].to_numpy()
    line = replace(table, terms=table.terms[:, [0, 2]])  # a constant and the sum

    def learn(train: Mask, test: Mask) -> Vector:
        return ModelLearner().fit(table.take(train), true[train]).latency_us(table.take(test))

    def simple(train: Mask, test: Mask) -> Vector:
        found: Vector = np.exp(fit_prior(line.take(train), true[train]).log_us(line.take(test)))
        return found

    everything = np.ones(len(true), dtype=bool)
    return {"true": true} | {
        name: left_out(fold, everything, predict)[0] for name, predict in (("ours", learn), ("simple", simple))
    }


def new_gpu(folder: Path) -> Iterator[Outcome]:
    """Each phone in turn is new: `MEASURED` operators of it are measured, the others' tables are known."""
    table = read(folder, "tflite")
    latency = {phone: table[PREFIX + phone].to_numpy(dtype=np.float64) for phone in phones(table)}
    most = max((int((us > 0).sum()) for us in latency.values()), default=0)
    names = [phone for phone, us in latency.items() if (us > 0).sum() > most / 2]  # others share too little
    complete = np.all([latency[phone] > 0 for phone in names], axis=0)
    if len(names) < 2 or complete.sum() < 2 * MEASURED:
        say(f"  {len(names)} phones share {int(complete.sum())} operators: too few")
        return
    features, raw = mobile_gpu_table(table[complete]), raw_rows(table[complete])
    reached: dict[str, dict[str, float]] = {}
    simple: list[dict[str, float]] = []
    curve: dict[int, list[dict[str, float]]] = {}
    for phone in names:
        others = np.column_stack([latency[name][complete] for name in names if name != phone])
        known, true = KnownDevices(table=features, latency_us=others), latency[phone][complete]
        measured = known.spread_out(MEASURED)
        rest = np.setdiff1d(np.arange(len(true)), measured)
        reached[phone] = errors(true[rest], known.adapt(measured, true[measured])[rest])
        for count in (MEASURED // 2, 2 * MEASURED, 4 * MEASURED):
            more = known.spread_out(count)
            others_than = np.setdiff1d(rest, more)
            if len(others_than):
                found = errors(true[others_than], known.adapt(more, true[more])[others_than])
                curve.setdefault(count, []).append(found)
        drawn = np.random.default_rng(0).permutation(len(true))
        train, test = (np.isin(np.arange(len(true)), part) for part in (drawn[:MEASURED], drawn[MEASURED:]))
        plain = untuned(np.column_stack([raw, np.log(others)]), true, train, test)
        simple.append(errors(true[test], plain))
        say(f"  {phone}: {reached[phone]}")
    yield Outcome(
        task=f"usc, a new GPU with {MEASURED} measured operators",
        baseline=mean(simple),
        reached=mean(list(reached.values())),
        target={"mape": 9.0, "within_10": 68.0},
        n=len(names) * (int(complete.sum()) - MEASURED),
        folds=len(names),
        detail={
            "by phone": reached,
            "with so many measured": {str(count): mean(found) for count, found in sorted(curve.items())},
            "equal shapes against their median": mean([repeats(table, latency[phone]) for phone in names]),
        },
        note="operators chosen from the other phones' tables alone; baseline: drawn at random, XGBoost",
    )
