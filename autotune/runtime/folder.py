"""A plan as a folder: `plan.json`, the stages' ONNX files, weights stored once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.core import PLAN_SCHEMA_VERSION, Plan
from autotune.core.codec import decode, encode
from autotune.errors import PlanError, SchemaVersionError, StoreError
from autotune.runtime.drafts import JOINT_FILE, PLAN_FILE, sha256_of, write_folder, write_json


def write_plan(plan: Plan, folder: Path, *, files: Path, whole: str) -> None:
    """Writes a plan's folder; the plan that may be there before stays until the new one is complete.

    Args:
        plan: what to write.
        folder: where; a folder that holds anything but a plan is refused.
        files: folder with the stages' ONNX files and their weights; they are moved away from there.
        whole: name of the file in it that holds the whole model, for falling back.

    Raises:
        PlanError: `folder` holds something else, or `files` lacks a file of the plan.
        StoreError: it cannot be written.
    """
    for name in (*(stage.file for stage in plan.stages), whole):
        if Path(name).name != name or not (files / name).is_file():
            raise PlanError(f"the plan needs {name}, which is not in {files}")
    write_folder(folder, lambda draft: _fill(plan, draft, files, whole))


def _fill(plan: Plan, draft: Path, files: Path, whole: str) -> None:
    names = sorted(path.name for path in files.iterdir() if path.is_file())
    for name in names:
        shutil.move(str(files / name), str(draft / name))
    described = {name: {"bytes": (draft / name).stat().st_size, "sha256": sha256_of(draft / name)} for name in names}
    data = encode(plan) | {"files": described, "whole": whole}
    write_json(draft / PLAN_FILE, data)


def read_data(folder: Path) -> Mapping[str, Any]:
    """What `plan.json` holds, checked to be a plan of a version that this code reads, with all its files.

    Raises:
        PlanError: the folder or a file is missing or damaged.
        SchemaVersionError: a newer autotune wrote it.
    """
    path = folder / PLAN_FILE
    if (folder / JOINT_FILE).is_file() and not path.is_file():
        raise PlanError(
            f"{folder} holds plans of several models: load it with autotune.load_plans, or name one of them"
        )
    if not path.is_file():
        raise PlanError(f"{folder} is no plan: it has no {PLAN_FILE}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = int(data["schema_version"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PlanError(f"{path} is damaged ({error}): search again") from error
    if found < 1:
        raise PlanError(f"{path} is damaged (schema version {found}): search again")
    if found > PLAN_SCHEMA_VERSION:
        raise SchemaVersionError(
            str(path), found=found, known=PLAN_SCHEMA_VERSION, cure="search again with the autotune that is here"
        )
    files = data.get("files")
    if not isinstance(files, dict) or data.get("whole") not in files:
        raise PlanError(f"{path} is damaged: it does not name its files; search again")
    for name, entry in files.items():
        _check_file(folder, name, entry)
    return dict(data)


def _check_file(folder: Path, name: str, entry: Any) -> None:
    if Path(name).name != name:
        raise PlanError(f"{folder / PLAN_FILE} names the file {name!r}, which lies outside the plan")
    path = folder / name
    if not path.is_file():
        raise PlanError(f"the plan {folder} is damaged: {name} is missing; search again")
    size = entry.get("bytes") if isinstance(entry, dict) else None
    found = path.stat().st_size
    if found != size:
        raise PlanError(f"the plan {folder} is damaged: {name} has {found} bytes instead of {size}; search again")


def check_hashes(folder: Path, data: Mapping[str, Any]) -> None:
    """Compares every file with its hash (about a gigabyte per second).

    Raises:
        PlanError: one differs.
    """
    for name, entry in data["files"].items():
        if sha256_of(folder / name) != entry.get("sha256"):
            raise PlanError(f"the plan {folder} is damaged: the contents of {name} have changed; search again")


def own_cache(cache: Path | None, plan: Plan, data: Mapping[str, Any]) -> Path | None:
    """The plan's own folder among compiled models, by its files' contents; None where no provider of it could use one.

    TensorRT knows a model by its names and shapes, not by its weights: in one folder for all it would run another one.

    Raises:
        StoreError: it cannot be made.
    """
    if cache is None or all(stage.lane.processor == "cpu" for stage in plan.stages):
        return None
    contents = sorted((name, entry.get("sha256")) for name, entry in data["files"].items())
    own = cache / hashlib.sha256(json.dumps(contents).encode()).hexdigest()[:16]
    try:
        own.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder for compiled models {own} cannot be written ({error.strerror}): give another cache, or none"
        ) from error
    return own


def read_plan(folder: str | Path) -> Plan:
    """The plan in a folder.

    Raises:
        PlanError: the folder is no plan, or damaged.
        SchemaVersionError: a newer autotune wrote it.
    """
    return plan_of(Path(folder), read_data(Path(folder)))


def plan_of(folder: Path, data: Mapping[str, Any]) -> Plan:
    """The plan that `read_data` gave."""
    try:
        plan = decode(Plan, data)
    except (ValueError, TypeError) as error:
        raise PlanError(f"{folder / PLAN_FILE} is damaged: {error}") from error
    for stage in plan.stages:
        if stage.file not in data["files"]:
            raise PlanError(f"{folder / PLAN_FILE} is damaged: {stage.file!r} is not among its files")
    return plan


def whole_model(folder: str | Path) -> Path:
    """The file with the whole model."""
    return Path(folder) / str(read_data(Path(folder))["whole"])
