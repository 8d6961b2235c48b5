"""Retraining the kernel predictor on all records of this device."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.api.published import published_device
from autotune.api.tuned import Tuning, tuned
from autotune.api.workplace import Guarded, measuring_workplace
from autotune.core import Device, Lane, Observer, ProfileRecord, SilentObserver
from autotune.core.codec import encode
from autotune.datasets import ProfileColumns, Store
from autotune.datasets.public import records_of
from autotune.errors import PredictorError
from autotune.learning import learner_with, records_of_others
from autotune.predictor import (
    Champion,
    Duel,
    Evaluation,
    KernelPredictor,
    champion_problem,
    duel,
    evaluate,
    load_champion,
    register,
    training_columns,
)
from autotune.predictor import learner as learner_named
from autotune.predictor.adapted import ENOUGH, LEAST, Adapted
from autotune.predictor.evaluation import COMPARED
from autotune.predictor.learner import Learner
from autotune.predictor.training import MIN_RECORDS, PROFILE_S, TrainingSet
from autotune.predictor.tuning import settled

DEFAULT, *BASELINES = COMPARED
"""What learns where nothing is in use yet, and what an evaluation sets beside it."""
ADAPTED, HELPED = "adapted", "boosted"
"""What learns with the help of other devices, and which learner can be helped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainResult:
    """What retraining did.

    Args:
        version: the new predictor's version.
        folder: where it lies.
        records: kernels × lanes that it was trained on.
        previous: version in use before, empty where there was none that could be read.
        problem: why the one in use before could not be read; empty where it could, or there was none.
        before: rows of the accuracy of the one before, as it was registered.
        after: accuracy of the new one by model left out, beside the baselines and the noise ceiling.
        duel: the new one against the one in use before; None where there was none.
        as_stored: whether the one in use before was judged as it is stored, for its records are no longer at hand: it
            may know the models left out.
        promoted: whether it is in use now: it is better beyond noise, or there was none.
        learner: what it learns with; `adapted`: records of other devices help.
        helpers: identifiers of the other devices whose records were at hand; empty where they are not needed.
        helped: learning with them against learning without; None where there was no choice.
        tuning: which settings were chosen, and whether they are taken; None where none were.
        seconds: time spent.
    """

    version: str
    folder: Path
    records: int
    previous: str
    problem: str
    before: tuple[Mapping[str, Any], ...]
    after: Evaluation
    duel: Duel | None
    as_stored: bool
    promoted: bool
    learner: str
    helpers: tuple[str, ...]
    helped: Duel | None
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
    wait_s: float = 600.0,
) -> RetrainResult:
    """Trains on all records of this device and registers the result; it is used if it beats the one in use.

    Both are judged on the same models left out: the one in use by what it learns from the records that it had, or as it
    is stored where those are gone. The device is held from the first look at the one in use to the end: training takes
    every core, which would disturb a measurement, and of two that retrain each meets what the other left. While a
    lane has few records, those of other devices in the store help (`autotune.learning.learner_with`) if that is better
    beyond noise on the same models left out, or where there are too few records to tell, in cross-validation. So do
    tuned settings, chosen anew without the models left out wherever some are.

    Args:
        home: folder for records and predictors; None uses AUTOTUNE_HOME or the platform's.
        learner: what to learn with, a name of `LEARNERS`; empty: that of the predictor in use, with its settings.
            `adapted` takes the help of other devices without a contest.
        tune: proposals for the learner's settings (Optuna, nested by model), taken if they are better beyond noise; 0:
            they stay as they are.
        published: an imported public table and a device in it, instead of this device and what was measured here.
        seed: of training and folds.
        observer: is told of the progress.
        track: whether the predictor is mirrored in MLflow's registry.
        wait_s: seconds to wait for a process that measures on this device or retrains.

    Raises:
        PredictorError: too few records, of this device or, for `adapted`, of others; says how many are needed.
        DeviceBusyError: the other process is not done after `wait_s`.
        UnknownNameError: no learner, data set or device of this name.
    """
    begin = time.monotonic()
    watcher = Guarded(observer or SilentObserver())
    with measuring_workplace(home, watcher, wait_s=wait_s) as place:
        device = published_device(place.home, *published) if published else place.device
        with records_of(place.home, published[0]) if published else Store(place.store_url) as store:
            columns, groups = store.columns(device=device.id), store.groups()
            others = [] if published else records_of_others(store, device, columns.kernels_by_lane())
        if others and not len(columns.kernel):
            raise _only_others(others)
        if learner == ADAPTED and not others:
            raise _no_help(columns.kernels_by_lane(), others, published)
        data = training_columns(columns, device)
        champion = load_champion(place.home, device)
        problem = champion_problem(place.home, device) if champion is None else ""
        used = champion.predictor.learner if champion is not None else None
        challenger = _alone(used, learner)
        tuning = None
        if tune:
            watcher.progress("tune", 0, 0, text=f"{tune} settings of {challenger.name}, models left out within models")
            challenger, tuning = tuned(challenger, data, groups, device, trials=tune, seed=seed)
        helper = learner_with(others, inner=challenger, seed=seed) if challenger.name == HELPED else None
        if learner == ADAPTED and helper is None:
            raise _no_help(columns.kernels_by_lane(), others, published)
        helped = None
        if helper is not None and learner == "":
            watcher.progress("compare", 0, 0, text="with and without the records of other devices")
            helped = duel(data, data, groups, device, learners=(challenger, helper), seed=seed)
        if helper is not None and (learner == helper.name or (helped is not None and _helps(helped))):
            challenger = helper
        if isinstance(used, Adapted):  # with its own settings, whatever meets it
            same = helper is not None and helper.inner == used.inner
            used = (helper if same else learner_with(others, inner=used.inner, seed=seed)) or used.inner
        watcher.progress("train", 0, 0, text=f"{columns.count} records")
        predictor = KernelPredictor(device=device, seed=seed, learner=settled(challenger)).fit(data, groups)
        watcher.progress("evaluate", 0, 0, text="models left out, one after the other")
        beside = [name for name in (*_without_help(challenger), *BASELINES) if name != challenger.name]
        after = evaluate(data, groups, device, learners=(challenger, *beside), seed=seed)
        contest, before = None, None
        if champion is not None:
            watcher.progress("compare", 0, 0, text=f"with {champion.version}")
            before = _records_of(champion, columns, device)
            known = before if before is not None else champion.predictor
            contest = duel(data, known, groups, device, learners=(used, challenger), seed=seed)
        promoted = contest is None or contest.challenger_wins or _first_help(contest, challenger, used)
        accuracy = after.card() | {"store_records": columns.count} | ({"tuning": encode(tuning)} if tuning else {})
        version = register(predictor, place.home, accuracy=accuracy, champion=promoted)
        folder = place.home / "predictors" / version
        if track and promoted:
            _mirror(place.home, device, version, folder, after)
    rows = champion.card.get("accuracy", {}).get("rows", []) if champion is not None else []
    return RetrainResult(
        version=version,
        folder=folder,
        records=predictor.records,
        previous=champion.version if champion is not None else "",
        problem=problem,
        before=tuple(rows),
        after=after,
        duel=contest,
        as_stored=contest is not None and before is None,
        promoted=promoted,
        learner=challenger.name,
        helpers=tuple(sorted({record.identity.device for record in others})) if helper is not None else (),
        helped=helped,
        tuning=tuning,
        seconds=time.monotonic() - begin,
    )


def _alone(used: Learner | None, name: str) -> Learner:
    """What learns from the own records: that in use with its settings, one by its name, or the default."""
    own = used.inner if isinstance(used, Adapted) else used
    wanted = HELPED if name == ADAPTED else name
    return own if own is not None and wanted in ("", own.name) else learner_named(wanted or DEFAULT)


def _records_of(champion: Champion, columns: ProfileColumns, device: Device) -> TrainingSet | None:
    """What the one in use learnt from: the first so many records there are now, unless they are others meanwhile."""
    count = int(champion.card.get("accuracy", {}).get("store_records", 0))
    first = columns.first(count)
    if not len(first.kernel):
        return None
    found = training_columns(first, device)
    return found if found.hash == champion.predictor.data_hash else None


def _helps(contest: Duel) -> bool:
    """Better beyond noise; where nothing could be left out, the learner's own cross-validation chooses lane by lane."""
    return contest.challenger_wins or contest.kernels == 0


def _only_others(others: Sequence[ProfileRecord]) -> PredictorError:
    devices = sorted({record.identity.device for record in others})
    return PredictorError(
        f"nothing was measured on this device, the {len(others)} records are of {', '.join(devices)}: beside them "
        f"{LEAST} measured kernels of a lane are enough, about {math.ceil(PROFILE_S * LEAST)} s per lane: "
        "`autotune profile --model yolo --budget 30s`."
    )


def _no_help(
    by_lane: Mapping[Lane, int], others: Sequence[ProfileRecord], published: tuple[str, str] | None
) -> PredictorError:
    if published:
        why = f"a device of the table {published[0]} has none beside it"
    elif by_lane and min(by_lane.values()) >= ENOUGH:
        why = f"every lane here has {ENOUGH} kernels and more, from where others are not asked"
    else:
        why = f"the store holds {len(others)} of them"
    return PredictorError(
        f"`{ADAPTED}` learns with records of other devices, {MIN_RECORDS} measured kernels of a lane of one of them at "
        f"least, and {why}: `autotune datasets import FILE` adds what another device exported, or leave out --learner."
    )


def _first_help(contest: Duel, challenger: Learner, used: Learner | None) -> bool:
    """Help where there was none, of too few records to leave any out."""
    return contest.kernels == 0 and challenger.name == ADAPTED and used is not None and used.name != ADAPTED


def _without_help(challenger: Learner) -> tuple[str, ...]:
    """What stands beside it in the evaluation to show what the help is worth."""
    return (HELPED,) if challenger.name == ADAPTED else ()


def _mirror(home: Path, device: Device, version: str, folder: Path, accuracy: Evaluation) -> None:
    from autotune.tracking import MlflowObserver

    tracker = MlflowObserver(home)
    numbers = {f"within_10 {row.learner} {row.lane}": row.within_10 for row in accuracy.rows}
    fields = {"version": version, "folder": str(folder), "device": device.id, "accuracy": numbers}
    Guarded(tracker).event("predictor", fields)
    tracker.close()
