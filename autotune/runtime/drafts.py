"""Folders of plans: written as a whole, and only where nothing else lies."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autotune.core import draft_beside, written_whole
from autotune.errors import PlanError, StoreError

PLAN_FILE = "plan.json"
JOINT_FILE = "joint.json"
CONFIG_FILE = "ort-config.json"
_INDEXES: Mapping[str, Mapping[str, str]] = {
    "plan": {PLAN_FILE: "files", JOINT_FILE: "folders"},
    "exported plan": {CONFIG_FILE: "files"},
}
"""What a folder holds -> the files that say what lies beside them, and under which key."""


def write_folder(folder: Path, fill: Callable[[Path], None], *, kind: str = "plan") -> None:
    """Fills a draft beside a folder, then puts it in the folder's place.

    Args:
        folder: where; a folder that holds anything of another kind is refused.
        fill: writes everything into the draft.
        kind: `plan` or `exported plan`.

    Raises:
        PlanError: `folder` holds something else.
        StoreError: it cannot be written.
    """
    folder = folder.absolute()
    check_target(folder, kind=kind)
    try:
        with written_whole(folder) as draft:
            fill(draft)
    except OSError as error:
        raise StoreError(
            f"the {kind} cannot be written to {folder} ({error.strerror or error}): "
            "free some space there, or give another --output"
        ) from error


def check_target(folder: Path, *, kind: str = "plan") -> None:
    """Whether a plan, or what `kind` says, could be written there, before hours are spent on one.

    Raises:
        PlanError: something else stands there.
        StoreError: the folder around it cannot be written.
    """
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise PlanError(f"{folder} is a file: give another --output, or remove it")
    foreign = ", ".join(_foreign(folder, kind)[:3])
    if foreign:
        raise PlanError(
            f"{folder} exists and holds {foreign}, which is no {kind}'s: give another --output, or remove it"
        )
    try:
        draft_beside(folder).rmdir()
    except OSError as error:
        raise StoreError(f"{folder.parent} cannot be written ({error.strerror}): give another --output") from error


def write_json(path: Path, data: Any) -> None:
    """Writes JSON so that it is on the disk when this returns."""
    with path.open("w", encoding="utf-8") as stream:
        json.dump(data, stream, indent=1, allow_nan=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def sha256_of(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _foreign(folder: Path, kind: str) -> list[str]:
    """What lies there and is not of that kind; empty where the folder may be replaced."""
    if not folder.exists():
        return []
    found = {path.name for path in folder.iterdir()}
    own = {index: set(_named(folder / index, key)) for index, key in _INDEXES[kind].items()}
    plans = own.get(JOINT_FILE, set()) & found - {JOINT_FILE}
    inside = [f"{name}/{other}" for name in sorted(plans) for other in _foreign(folder / name, kind)]
    return sorted(found.difference(*own.values())) + inside


def _named(index: Path, key: str) -> list[str]:
    """The index file and what it says is beside it; nothing where it is none."""
    try:
        data: Mapping[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        return [index.name, *(name for name in data[key] if (index.parent / name).is_dir() == (key == "folders"))]
    except (OSError, ValueError, TypeError, KeyError):
        return []
