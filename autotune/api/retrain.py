"""Retraining the kernel predictor on all records of this device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autotune.api.workplace import Guarded, open_workplace
from autotune.core import Observer, SilentObserver
from autotune.datasets import Store
from autotune.predictor import Evaluation, KernelPredictor, evaluate, load_champion, register


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainResult:
    """What retraining did.

    Args:
        version: the new predictor's version.
        folder: where it lies.
        records: number of records it was trained on.
        before: accuracy of the predictor in use before, on the same left-out models; None where there was none.
        after: accuracy of the new one, by model left out, beside baselines and noise ceiling.
        seconds: time spent.
    """

    version: str
    folder: Path
    records: int
    before: Evaluation | None
    after: Evaluation
    seconds: float


def retrain(
    home: Path | None = None, *, seed: int = 0, observer: Observer | None = None, track: bool = True
) -> RetrainResult:
    """Trains on all records of this device and registers the result.

    Args:
        home: folder for records and predictors; None uses AUTOTUNE_HOME or the platform's.
        seed: of training and folds.
        observer: is told of the progress.
        track: whether the predictor is mirrored in MLflow's registry.

    Raises:
        PredictorError: too few records; says how many are needed.
    """
    import time

    begin = time.monotonic()
    watcher = Guarded(observer or SilentObserver())
    with open_workplace(home) as place:
        with Store(place.store_url) as store:
            records = store.kernels(device=place.device.id)
            groups = store.models()
        predictor = KernelPredictor(device=place.device, seed=seed).fit(records)
        watcher.progress("train", 0, 0, text=f"evaluating on {len(records)} records, models left out")
        after = evaluate(records, groups, place.device, seed=seed)
        champion = load_champion(place.home, place.device)
        before = champion.accuracy if champion is not None else None
        entry = register(predictor, place.home, accuracy=after)
        if track:
            _mirror(place.home, entry.version, entry.folder, place.device.id, after)
    return RetrainResult(
        version=entry.version,
        folder=entry.folder,
        records=len(records),
        before=before,
        after=after,
        seconds=time.monotonic() - begin,
    )


def _mirror(home: Path, version: str, folder: Path, device: str, accuracy: Evaluation) -> None:
    from autotune.tracking import MlflowObserver

    tracker = MlflowObserver(home)
    numbers = {f"within10_{row.lane}": row.within_10 for row in accuracy.rows}
    tracker.event("predictor", {"version": version, "folder": str(folder), "device": device, "accuracy": numbers})
    tracker.close()
