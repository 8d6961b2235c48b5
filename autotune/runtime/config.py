"""A plan for plain ONNX Runtime, in any language: literal options, files and their order."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autotune.core import Lane
from autotune.processors import SessionSpec, session_options
from autotune.runtime.crew import Crew, copies_of, crews_of
from autotune.runtime.drafts import CONFIG_FILE, write_folder, write_json
from autotune.runtime.folder import check_hashes, plan_of, read_data
from autotune.runtime.stages import calm

SCHEMA_VERSION = 2


def export_ort_config(folder: str | Path, target: str | Path) -> Path:
    """Writes the stages' files and `ort-config.json` to a folder; returns the path of the latter.

    What is there before stays until the new one is complete.

    Args:
        folder: the plan.
        target: folder to write to.

    Raises:
        PlanError: the plan is damaged or pinned to cores that this process may not use, or `target` holds something
            else.
        MissingProcessorError: a processor of it is not here, so that its options are unknown.
        StoreError: `target` cannot be written.
    """
    place, goal = Path(folder), Path(target)
    data = read_data(place)
    check_hashes(place, data)
    plan = plan_of(place, data)
    lanes = calm([stage.lane for stage in plan.stages])
    needed = [stage.file for stage in plan.stages] + [name for name in data["files"] if not name.endswith(".onnx")]
    files = list(dict.fromkeys(needed))
    pinned = any(stage.lane.concurrency.cores for stage in plan.stages)  # then requests wait for the lanes' workers
    crews = {lane: crew for crew in crews_of(lanes, threads=1 if pinned else plan.callers) for lane in crew.lanes}
    at_once = plan.source in ("split", "parallel lanes", "pipeline")
    config = {
        "schema_version": SCHEMA_VERSION,
        "at_the_same_time": at_once,
        "model": plan.model.name,
        "scenario": str(plan.scenario),
        "callers": plan.callers,
        "batch": plan.batch,
        "inputs": [{"name": t.name, "type": t.dtype, "shape": list(t.shape or ())} for t in plan.model.inputs],
        "outputs": [t.name for t in plan.model.outputs],
        "files": files,
        "to_do": _to_do(crews.values(), at_once=at_once),
        "stages": [
            {
                "file": stage.file,
                "lane": str(stage.lane),
                "inputs": list(stage.inputs),
                "outputs": list(stage.outputs),
                **_served_by(lane, crews[lane]),
            }
            for stage, lane in zip(plan.stages, lanes, strict=True)
        ],
    }

    def fill(draft: Path) -> None:
        for name in files:
            shutil.copyfile(place / name, draft / name)
        write_json(draft / CONFIG_FILE, config)

    write_folder(goal, fill, kind="exported plan")
    return goal / CONFIG_FILE


def _served_by(lane: Lane | SessionSpec, crew: Crew) -> dict[str, Any]:
    """The sessions of a stage's lane, one per copy, and the threads that call them."""
    copies = copies_of(lane)
    specs = [copy if isinstance(copy, SessionSpec) else session_options(copy) for copy in copies]
    return {
        "sessions": [_session(spec) for spec in specs],
        "workers": [{"session": seat.copy % len(copies), "cores": list(seat.cores)} for seat in crew.seats],
    }


def _to_do(crews: Iterable[Crew], *, at_once: bool) -> list[str]:
    """What the plan does beyond opening a session per stage and calling one after the other."""
    seats = [crew.seats for crew in crews]
    found = []
    if any(len(own) > 1 for own in seats):
        found.append("several requests at a time: every worker of a stage is a thread that calls its session")
    if any(seat.cores for own in seats for seat in own):
        found.append("pinning: a worker's thread makes and calls its session on the worker's cores and on no other")
    if at_once:
        found.append("stages at the same time: each runs on its workers as soon as its inputs are there")
    return found


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
