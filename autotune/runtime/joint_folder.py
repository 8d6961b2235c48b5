"""A joint plan as a folder: `joint.json`, and a plan's folder per model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.core import JOINT_SCHEMA_VERSION, JointPlan
from autotune.core.codec import decode, encode
from autotune.errors import PlanError, SchemaVersionError
from autotune.runtime.drafts import JOINT_FILE, PLAN_FILE, sha256_of, write_folder, write_json


def write_joint(joint: JointPlan, folder: Path, *, plans: Mapping[str, Path]) -> None:
    """Writes a joint plan's folder; what may be there before stays until the new one is complete.

    Args:
        joint: what to write.
        folder: where; a folder that holds anything but a plan is refused.
        plans: each model's plan as a folder; moved away from there.

    Raises:
        PlanError: `folder` holds something else, or a model has no plan or a name that cannot be a folder's.
        StoreError: it cannot be written.
    """
    for name in joint.names:
        if Path(name).name != name or not (plans[name] / PLAN_FILE).is_file():
            raise PlanError(f"the joint plan needs a plan of {name}, which is not there")

    def fill(draft: Path) -> None:
        for name in joint.names:
            shutil.move(str(plans[name]), str(draft / name))
        hashes = {name: sha256_of(draft / name / PLAN_FILE) for name in joint.names}
        write_json(draft / JOINT_FILE, encode(joint) | {"folders": hashes})

    write_folder(folder, fill)


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
    for name in joint.names:
        index = place / name / PLAN_FILE
        if Path(name).name != name or not index.is_file():
            raise PlanError(f"the joint plan {place} is damaged: it has no plan of {name}; search again")
        if sha256_of(index) != folders.get(name):
            raise PlanError(f"the joint plan {place} is damaged: {name}/{PLAN_FILE} has changed; search again")
    return joint


def is_joint(folder: str | Path) -> bool:
    """Whether a folder holds a joint plan."""
    return (Path(folder) / JOINT_FILE).is_file()
