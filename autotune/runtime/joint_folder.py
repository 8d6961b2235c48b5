"""A joint plan as a folder: `joint.json`, a plan's folder per model, and own best plans that it was compared with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.core import JOINT_SCHEMA_VERSION, JointPlan
from autotune.core.codec import decode, encode
from autotune.errors import PlanError, SchemaVersionError
from autotune.runtime.drafts import JOINT_FILE, PLAN_FILE, sha256_of, write_folder, write_json


def write_joint(
    joint: JointPlan, folder: Path, *, plans: Mapping[str, Path], own: Mapping[str, Path] | None = None
) -> None:
    """Writes a joint plan's folder; what may be there before stays until the new one is complete.

    Args:
        joint: what to write.
        folder: where; a folder that holds anything but a plan is refused.
        plans: each model's plan as a folder; it stays there, so that another `folder` can be tried.
        own: best plans of models alone, as folders, where the files of `plans` cannot run them.

    Raises:
        PlanError: `folder` holds something else, or a model has no plan or a name that cannot be a folder's.
        StoreError: it cannot be written.
    """
    for name in joint.names:
        if Path(name).name != name or not (plans[name] / PLAN_FILE).is_file():
            raise PlanError(f"the joint plan needs a plan of {name}, which is not there")

    sources = {name: plans[name] for name in joint.names}
    sources |= {own_folder(joint, name): source for name, source in (own or {}).items()}

    def fill(draft: Path) -> None:
        for name, source in sources.items():
            (draft / name).mkdir()
            for file in source.iterdir():
                _link(file, draft / name / file.name)
        hashes = {name: sha256_of(draft / name / PLAN_FILE) for name in sources}
        write_json(draft / JOINT_FILE, encode(joint) | {"folders": hashes})

    write_folder(folder, fill)


def _link(source: Path, target: Path) -> None:
    """The same file in another place; a copy where that is another disk, or one without links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def own_folder(joint: JointPlan, name: str) -> str:
    """Name of the folder that holds a model's own best plan, where the joint plan's own files cannot run it."""
    prefix = "own-"
    while any(model.startswith(prefix) for model in joint.names):
        prefix += "own-"
    return prefix + name


def read_joint(folder: str | Path) -> JointPlan:
    """The joint plan in a folder.

    Raises:
        PlanError: the folder is no joint plan, or damaged.
        SchemaVersionError: a newer autotune wrote it.
    """
    place = Path(folder)
    path = place / JOINT_FILE
    if not path.is_file():
        hint = ": it holds one model, load it with autotune.load_plan" if (place / PLAN_FILE).is_file() else ""
        raise PlanError(f"{place} is no joint plan{hint or f': it has no {JOINT_FILE}'}")
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = int(data["schema_version"])
        if found > JOINT_SCHEMA_VERSION:
            raise SchemaVersionError(
                str(path), found=found, known=JOINT_SCHEMA_VERSION, cure="search again with the autotune that is here"
            )
        joint = decode(JointPlan, data)
        folders = dict(data["folders"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PlanError(f"{path} is damaged ({error}): search again") from error
    for name in dict.fromkeys((*joint.names, *folders)):
        index = place / name / PLAN_FILE
        if Path(name).name != name or not index.is_file():
            raise PlanError(f"the joint plan {place} is damaged: it has no plan of {name}; search again")
        if sha256_of(index) != folders.get(name):
            raise PlanError(f"the joint plan {place} is damaged: {name}/{PLAN_FILE} has changed; search again")
    return joint


def is_joint(folder: str | Path) -> bool:
    """Whether a folder holds a joint plan."""
    return (Path(folder) / JOINT_FILE).is_file()
