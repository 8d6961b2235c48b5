"""Retraining the kernel predictor on all records of this device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.api.workplace import Guarded, Workplace, open_workplace
from autotune.core import Device, Observer, SilentObserver
from autotune.datasets import Store
from autotune.datasets.public import read_card, records_of
from autotune.errors import UnknownNameError
from autotune.predictor import Duel, Evaluation, KernelPredictor, duel, evaluate, load_champion, register
from autotune.predictor import learner as learner_named
from autotune.predictor.evaluation import COMPARED
from autotune.predictor.training import training_set
from autotune.predictor.tuning import Tuning
from autotune.predictor.tuning import tune as tune_learner

DEFAULT, *BASELINES = COMPARED
"""What learns where nothing is in use yet, and what an evaluation sets beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainResult:
    """What retraining did.

    Args:
        version: the new predictor's version.
        folder: where it lies.
        records: kernels × lanes that it was trained on.
        previous: version in use before, empty where there was none.
        before: rows of the accuracy of the one before, as it was registered.
        after: accuracy of the new one by model left out, beside the baselines and the noise ceiling.
        duel: the new one against the one in use before; None where there was none.
        promoted: whether it is in use now: it is better beyond noise, or there was none.
        learner: what it learns with.
        tuning: how its settings were chosen; None where they were not.
        seconds: time spent.
    """

    version: str
    folder: Path
    records: int
    previous: str
    before: tuple[Mapping[str, Any], ...]
    after: Evaluation
    duel: Duel | None
    promoted: bool
    learner: str
    tuning: Tuning | None
    seconds: float


def retrain(
    home: Path | None = None,
    *,
    learner: str = "",
    tune: int = 0,
    published: tuple[str, str] | None = None,
    seed: int = 0,
    observer: Observer | None = None,
    track: bool = True,
) -> RetrainResult:
    """Trains on all records of this device and registers the result; it is used if it beats the one in use.

    Both are judged on the same models left out: the one in use by what it learns from the records that it had.

    Args:
        home: folder for records and predictors; None uses AUTOTUNE_HOME or the platform's.
        learner: what to learn with, a name of `LEARNERS`; empty: that of the predictor in use, with its settings.
        tune: proposals for the learner's settings (Optuna, nested by model); 0: they stay as they are.
        published: an imported public table and a device in it, instead of this device and what was measured here.
        seed: of training and folds.
        observer: is told of the progress.
        track: whether the predictor is mirrored in MLflow's registry.

    Raises:
        PredictorError: too few records; says how many are needed.
        UnknownNameError: no learner, data set or device of this name.
    """
    begin = time.monotonic()
    watcher = Guarded(observer or SilentObserver())
    with open_workplace(home) as place:
        device = _published_device(place.home, *published) if published else place.device
        with records_of(place.home, published[0]) if published else Store(place.store_url) as store:
            records = store.kernels(device=device.id, latest=False)
            groups = store.groups()
        champion = load_champion(place.home, device)
        used = champion.predictor.learner if champion is not None else None
        challenger = used if used is not None and learner in ("", used.name) else learner_named(learner or DEFAULT)
        tuning = None
        if tune:
            watcher.progress("tune", 0, 0, text=f"{tune} settings of {challenger.name}, models left out within models")
            data, cores = training_set(records, device), len(device.cores)
            tuning = tune_learner(data, groups, challenger.name, cores=cores, trials=tune, seed=seed)
            challenger = tuning.learner
        watcher.progress("train", 0, 0, text=f"{len(records)} records")
        predictor = KernelPredictor(device=device, seed=seed, learner=challenger).fit(records, groups)
        watcher.progress("evaluate", 0, 0, text="models left out, one after the other")
        beside = [name for name in BASELINES if name != challenger.name]
        after = evaluate(records, groups, device, learners=(challenger, *beside), seed=seed)
        known = int(champion.card.get("accuracy", {}).get("store_records", 0)) if champion is not None else 0
        contest = None
        if known:
            watcher.progress("compare", 0, 0, text=f"with {champion.version if champion else ''}")
            contest = duel(records, records[:known], groups, device, learners=(used, challenger), seed=seed)
        promoted = contest is None or contest.challenger_wins
        accuracy = after.card() | {"store_records": len(records)}
        version = register(predictor, place.home, accuracy=accuracy, champion=promoted)
        folder = place.home / "predictors" / version
        if track and promoted:
            _mirror(place, version, folder, after)
    before = champion.card.get("accuracy", {}).get("rows", []) if champion is not None else []
    return RetrainResult(
        version=version,
        folder=folder,
        records=predictor.records,
        previous=champion.version if champion is not None else "",
        before=tuple(before),
        after=after,
        duel=contest,
        promoted=promoted,
        learner=challenger.name,
        tuning=tuning,
        seconds=time.monotonic() - begin,
    )


def _published_device(home: Path, name: str, device: str) -> Device:
    """A device of an imported public table; its cores are not known, lanes say their threads."""
    listed = read_card(home, name).get("profile_records", {}).get("devices", [])
    known = {one["device"]: one["id"] for one in listed}
    if listed and device not in known:
        raise UnknownNameError(f"device of {name}", device, known=sorted(known))
    own = known.get(device, "")
    return Device(id=own, name=f"{device} ({name})", system="", machine="", cores=(0,), memory_bytes=0)


def _mirror(place: Workplace, version: str, folder: Path, accuracy: Evaluation) -> None:
    from autotune.tracking import MlflowObserver

    tracker = MlflowObserver(place.home)
    numbers = {f"within_10 {row.learner} {row.lane}": row.within_10 for row in accuracy.rows}
    fields = {"version": version, "folder": str(folder), "device": place.device.id, "accuracy": numbers}
    Guarded(tracker).event("predictor", fields)
    tracker.close()
