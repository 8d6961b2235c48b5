"""A plan for plain ONNX Runtime, in any language: literal options, files and their order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from autotune.errors import PlanError, StoreError
from autotune.processors import SessionSpec, session_options
from autotune.runtime.folder import check_hashes, plan_of, read_data
from autotune.runtime.stages import calm

CONFIG_FILE = "ort-config.json"
SCHEMA_VERSION = 1


def export_ort_config(folder: str | Path, target: str | Path) -> Path:
    """Writes the stages' files and `ort-config.json` to a folder; returns the path of the latter.

    Args:
        folder: the plan.
        target: folder to write to.

    Raises:
        PlanError: the plan is damaged, or `target` holds something else.
        MissingProcessorError: a processor of it is not here, so that its options are unknown.
        StoreError: `target` cannot be written.
    """
    place, goal = Path(folder), Path(target)
    data = read_data(place)
    check_hashes(place, data)
    plan = plan_of(place, data)
    if goal.exists() and (not goal.is_dir() or (any(goal.iterdir()) and not (goal / CONFIG_FILE).exists())):
        raise PlanError(f"{goal} exists and is no exported plan: give another --output")
    specs = [
        lane if isinstance(lane, SessionSpec) else session_options(lane) for lane in calm([s.lane for s in plan.stages])
    ]
    needed = [stage.file for stage in plan.stages] + [name for name in data["files"] if not name.endswith(".onnx")]
    config = {
        "schema_version": SCHEMA_VERSION,
        "at_the_same_time": plan.candidate.source in ("split", "parallel lanes", "pipeline"),
        "model": plan.model.name,
        "scenario": str(plan.scenario),
        "callers": plan.callers,
        "batch": plan.batch,
        "inputs": [{"name": t.name, "type": t.dtype, "shape": list(t.shape or ())} for t in plan.model.inputs],
        "outputs": [t.name for t in plan.model.outputs],
        "stages": [
            {
                "file": stage.file,
                "lane": str(stage.lane),
                "inputs": list(stage.inputs),
                "outputs": list(stage.outputs),
                "session": _session(spec),
            }
            for stage, spec in zip(plan.stages, specs, strict=True)
        ],
    }
    try:
        goal.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(needed):
            shutil.copyfile(place / name, goal / name)
        (goal / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{goal} cannot be written ({error.strerror or error}): give another --output") from error
    return goal / CONFIG_FILE


def _session(spec: SessionSpec) -> dict[str, Any]:
    """Options under ONNX Runtime's own names; `plugin_library` is where the library lies on this machine."""
    return {
        "provider": spec.provider,
        "registration": spec.registration,
        "plugin_library": spec.library,
        "device": spec.device,
        "device_ordinal": spec.ordinal,
        "provider_options": dict(spec.provider_options),
        "session_config": dict(spec.config),
        "intra_op_num_threads": spec.intra_op_threads,
    }
