"""The slowdown predictor as a folder: XGBoost's UBJSON and a JSON card. No pickle anywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from autotune.errors import PredictorError
from autotune.predictor.slowdown import SlowdownPredictor
from autotune.predictor.slowdown_features import SLOWDOWN_FEATURES_VERSION, SLOWDOWN_NAMES
from autotune.predictor.storage import CARD, written_anew

SLOWDOWN_SCHEMA_VERSION = 1


def save_slowdown(predictor: SlowdownPredictor, folder: str | Path) -> Path:
    """Write a predictor; the folder appears whole or not at all, an older one is replaced.

    Raises:
        PredictorError: the folder cannot be written.
    """
    folder = Path(folder)
    state, files = predictor.dump()
    with written_anew(folder) as draft:
        hashes = {}
        for suffix, content in files.items():
            (draft / f"trees.{suffix}").write_bytes(content)
            hashes[suffix] = hashlib.sha256(content).hexdigest()
        card = {
            "schema_version": SLOWDOWN_SCHEMA_VERSION,
            "features_version": SLOWDOWN_FEATURES_VERSION,
            "features": list(SLOWDOWN_NAMES),
            "state": state,
            "files": hashes,
        }
        (draft / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return folder


def load_slowdown(folder: str | Path) -> SlowdownPredictor:
    """A predictor that `save_slowdown` wrote; it predicts the same, to the bit.

    Raises:
        PredictorError: missing, damaged, or of another version.
    """
    folder = Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        versions = card["schema_version"], card["features_version"], tuple(card["features"])
        if versions != (SLOWDOWN_SCHEMA_VERSION, SLOWDOWN_FEATURES_VERSION, SLOWDOWN_NAMES):
            raise ValueError(f"schema version {versions[0]} and features {versions[1]} are not those of this autotune")
        files = {}
        for suffix, wanted in card["files"].items():
            content = (folder / f"trees.{Path(suffix).name}").read_bytes()
            if hashlib.sha256(content).hexdigest() != wanted:
                raise ValueError(f"trees.{suffix} has changed since it was written")
            files[suffix] = content
        return SlowdownPredictor.restore(card["state"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PredictorError(
            f"{folder} holds no slowdown predictor that can be read ({error}): delete the folder, the next search "
            "learns it again."
        ) from error
