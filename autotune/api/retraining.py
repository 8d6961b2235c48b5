"""Retraining the kernel predictor on all records of this device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.api.workplace import Guarded, Workplace, open_workplace
from autotune.core import Observer, SilentObserver
from autotune.datasets import Store
from autotune.predictor import Duel, Evaluation, KernelPredictor, duel, evaluate, load_champion, register


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
    seconds: float


def retrain(
    home: Path | None = None, *, seed: int = 0, observer: Observer | None = None, track: bool = True
) -> RetrainResult:
    """Trains on all records of this device and registers the result; it is used if it beats the one in use.

    Both are judged on the same models left out: the one in use by what it learns from the records that it had.

    Args:
        home: folder for records and predictors; None uses AUTOTUNE_HOME or the platform's.
        seed: of training and folds.
        observer: is told of the progress.
        track: whether the predictor is mirrored in MLflow's registry.

    Raises:
        PredictorError: too few records; says how many are needed.
    """
    begin = time.monotonic()
    watcher = Guarded(observer or SilentObserver())
    with open_workplace(home) as place:
        with Store(place.store_url) as store:
            records = store.kernels(device=place.device.id, latest=False)
            groups = store.groups()
        watcher.progress("train", 0, 0, text=f"{len(records)} records")
        predictor = KernelPredictor(device=place.device, seed=seed).fit(records, groups)
        watcher.progress("evaluate", 0, 0, text="models left out, one after the other")
        after = evaluate(records, groups, place.device, seed=seed)
        champion = load_champion(place.home, place.device)
        known = int(champion.card.get("accuracy", {}).get("store_records", 0)) if champion is not None else 0
        contest = None
        if known:
            watcher.progress("compare", 0, 0, text=f"with {champion.version if champion else ''}")
            contest = duel(records, records[:known], groups, place.device, seed=seed)
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
        seconds=time.monotonic() - begin,
    )


def _mirror(place: Workplace, version: str, folder: Path, accuracy: Evaluation) -> None:
    from autotune.tracking import MlflowObserver

    tracker = MlflowObserver(place.home)
    numbers = {f"within_10 {row.learner} {row.lane}": row.within_10 for row in accuracy.rows}
    fields = {"version": version, "folder": str(folder), "device": place.device.id, "accuracy": numbers}
    Guarded(tracker).event("predictor", fields)
    tracker.close()
