"""Predictors as folders: XGBoost's UBJSON and a JSON card. No pickle anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autotune.core import Device, Identity, Lane, written_whole
from autotune.core.codec import decode, encode
from autotune.errors import PredictorError, UnknownNameError
from autotune.predictor.conformal import Calibration
from autotune.predictor.features import FEATURES_VERSION, NAMES
from autotune.predictor.kernel_predictor import KernelPredictor
from autotune.predictor.lane_model import LaneModel
from autotune.predictor.learner import Learner, learner, settings_of

PREDICTOR_SCHEMA_VERSION = 6
CARD = "card.json"


def save(predictor: KernelPredictor, folder: str | Path, *, accuracy: Mapping[str, Any] | None = None) -> Path:
    """Write a fitted predictor; the folder appears whole or not at all, an older one is replaced.

    Args:
        predictor: fitted.
        folder: to write.
        accuracy: what was measured of it, for the card (`Evaluation.card()`).

    Raises:
        PredictorError: it is not fitted, or the folder cannot be written.
    """
    folder = Path(folder)
    if not predictor.models:
        raise PredictorError("a predictor that has learnt nothing can't be saved: call fit() first.")
    with written_anew(folder) as draft:
        _write(predictor, draft, accuracy or {})
    return folder


@contextmanager
def written_anew(folder: Path) -> Iterator[Path]:
    """A draft folder to write into, which takes the place of `folder` at the end unless something failed.

    Raises:
        PredictorError: it cannot be written.
    """
    try:
        with written_whole(folder) as draft:
            yield draft
    except OSError as error:
        raise PredictorError(f"{folder} cannot be written ({error}): free space or name another folder.") from error


def load(folder: str | Path, *, device: Device | str | None = None) -> KernelPredictor:
    """A predictor that `save` wrote; it predicts the same, to the bit.

    Args:
        folder: where it lies.
        device: refuse a predictor of another device (a device or its identifier).

    Raises:
        PredictorError: missing, damaged, of another device, or of another version of the card or of the features.
    """
    folder = Path(folder)
    card = read_card(folder)
    wanted = device.id if isinstance(device, Device) else device
    if wanted is not None and card["device"] != wanted:
        raise PredictorError(
            f"{folder} was learnt on the device {card['device']}, this is {wanted}: run `autotune retrain` here."
        )
    try:
        chosen = learner(card["learner"], card.get("learner_settings", {}))
        models = [_read_lane(folder, entry, chosen, int(card["cores"])) for entry in card["lanes"]]
        return KernelPredictor.restored(
            models,
            learner=chosen,
            seed=int(card["seed"]),
            cores=int(card["cores"]),
            device_id=card["device"],
            data_hash=card["data_hash"],
        )
    except (OSError, ValueError, KeyError, TypeError, UnknownNameError) as error:
        raise damaged(folder, error) from error


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a saved predictor, checked for its versions.

    Raises:
        PredictorError: missing, damaged, or of another version.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        version, feature_version, names = card["schema_version"], card["features_version"], card["features"]
        if not isinstance(card["device"], str):
            raise TypeError("device is not text")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(folder, error) from error
    if version != PREDICTOR_SCHEMA_VERSION:
        raise PredictorError(
            f"{folder} has schema version {version}, this autotune reads {PREDICTOR_SCHEMA_VERSION}: "
            "run `autotune retrain` with this version."
        )
    if feature_version != FEATURES_VERSION or tuple(names) != NAMES:
        raise PredictorError(
            f"{folder} was learnt with features of version {feature_version}, this autotune has {FEATURES_VERSION}: "
            "run `autotune retrain`."
        )
    return dict(card)


def damaged(folder: Path, error: Exception) -> PredictorError:
    """The error for a folder that cannot be read."""
    return PredictorError(
        f"{folder} holds no predictor that can be read ({error}): delete the folder and run `autotune retrain`."
    )


def _write(predictor: KernelPredictor, folder: Path, accuracy: Mapping[str, Any]) -> None:
    lanes = []
    for number, model in enumerate(predictor.models.values()):
        state, files = model.regressor.dump()
        entry: dict[str, Any] = {
            "lane": encode(model.lane),
            "name": str(model.lane),
            "identity": encode(model.identity),
            "records": model.records,
            "calibration": encode(model.calibration),
            "sentinel_us": model.sentinel_us,
            "state": state,
            "files": {},
        }
        for suffix, content in files.items():
            name = f"lane_{number:03d}.{suffix}"
            (folder / name).write_bytes(content)
            entry["files"][suffix] = {"name": name, "sha256": hashlib.sha256(content).hexdigest()}
        lanes.append(entry)
    card = {
        "schema_version": PREDICTOR_SCHEMA_VERSION,
        "features_version": FEATURES_VERSION,
        "features": list(NAMES),
        "learner": predictor.learner.name,
        "learner_settings": settings_of(predictor.learner),
        "seed": predictor.seed,
        "cores": predictor.cores,
        "device": predictor.device_id,
        "records": predictor.records,
        "data_hash": predictor.data_hash,
        "accuracy": dict(accuracy),
        "lanes": lanes,
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _read_lane(folder: Path, entry: Mapping[str, Any], chosen: Learner, cores: int) -> LaneModel:
    files = {}
    for suffix, file in entry["files"].items():
        content = (folder / Path(file["name"]).name).read_bytes()
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise ValueError(f"{file['name']} has changed since it was written")
        files[suffix] = content
    return LaneModel(
        lane=decode(Lane, entry["lane"]),
        identity=decode(Identity, entry["identity"]),
        records=int(entry["records"]),
        regressor=chosen.restore(entry["state"], files, cores),
        calibration=decode(Calibration, entry["calibration"]),
        sentinel_us=float(entry.get("sentinel_us", 0.0)),
    )
