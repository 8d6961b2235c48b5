"""A plan for plain ONNX Runtime, in any language: literal options, files and their order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from autotune.errors import PlanError, StoreError
from autotune.processors import SessionSpec, session_options
from autotune.runtime.folder import plan_of, read_data
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
    plan = plan_of(place, data)
    if goal.exists() and any(goal.iterdir()) and not (goal / CONFIG_FILE).exists():
        raise PlanError(f"{goal} exists and is no exported plan: give another --output")
    specs = [
        lane if isinstance(lane, SessionSpec) else session_options(lane) for lane in calm([s.lane for s in plan.stages])
    ]
    needed = [stage.file for stage in plan.stages] + [name for name in data["files"] if not name.endswith(".onnx")]
    config = {
        "schema_version": SCHEMA_VERSION,
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
        raise StoreError(f"{goal} cannot be written ({error.strerror}): give another --output") from error
    return goal / CONFIG_FILE


def _session(spec: SessionSpec) -> dict[str, Any]:
    """Options under ONNX Runtime's own names."""
    return {
        "provider": spec.provider,
        "registration": spec.registration,
        "plugin_library": Path(spec.library).name,
        "device": spec.device,
        "provider_options": dict(spec.provider_options),
        "session_config": dict(spec.config),
        "intra_op_num_threads": spec.intra_op_threads,
    }


_BUILTIN = """\
import json, onnxruntime as ort
folder = {folder!r}
config, tensors = json.load(open(folder + "/{file}")), {{"{name}": {name}}}  # your arrays by input name
for stage in config["stages"]:
    options, s = ort.SessionOptions(), stage["session"]; options.intra_op_num_threads = s["intra_op_num_threads"]
    for key, value in s["session_config"].items(): options.add_session_config_entry(key, value)
    {session}
    tensors |= zip(stage["outputs"], session.run(stage["outputs"], {{n: tensors[n] for n in stage["inputs"]}}))
outputs = [tensors[name] for name in config["outputs"]]
"""
_BY_NAME = (
    'session = ort.InferenceSession(folder + "/" + stage["file"], options, '
    'providers=[(s["provider"], s["provider_options"])])'
)
_BY_DEVICE = (
    'devices = [d for d in ort.get_ep_devices() if d.ep_name == s["provider"]]  # register the plugin library first\n'
    '    options.add_provider_for_devices(devices[:1], s["provider_options"])\n'
    '    session = ort.InferenceSession(folder + "/" + stage["file"], options)'
)


def python_snippet(path: str | Path) -> str:
    """The lines of Python that run an exported plan with plain ONNX Runtime (sessions are made once in earnest use).

    Args:
        path: `ort-config.json`.

    Raises:
        PlanError: it cannot be read.
    """
    place = Path(path)
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
        name = config["inputs"][0]["name"]
        plugin = any(stage["session"]["registration"] == "plugin" for stage in config["stages"])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise PlanError(f"{place} is no exported plan: {error}") from error
    return _BUILTIN.format(
        folder=str(place.parent), file=CONFIG_FILE, name=name, session=_BY_DEVICE if plugin else _BY_NAME
    )
