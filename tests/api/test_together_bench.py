"""A joint plan of batches is measured as it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from autotune.api.together_bench import _jobs
from autotune.core import Candidate, Lane, Scenario, Sharing, StageChoice, TensorSpec
from autotune.graph import load_arrays
from autotune.profiler.jobs import feeds_of
from autotune.runtime import write_plan
from tests.runtime.conftest import make_plan, stage_files


def test_each_model_runs_its_batch(tmp_path: Path) -> None:
    own = Candidate(stages=(StageChoice(start=0, stop=5, lane=Lane.parse("cpu/f32/t1")),), callers=2, batch=4)
    plan = replace(make_plan(), scenario=Scenario.OFFLINE, callers=2, batch=4)
    (tensor,) = plan.model.inputs
    wide = TensorSpec(name=tensor.name, shape=(4, 8), dtype=tensor.dtype)
    plan = replace(plan, model=replace(plan.model, inputs=(wide,)))
    write_plan(plan, tmp_path / "plan" / "tiny", files=stage_files(tmp_path / "files"), whole="whole.onnx")
    joint: Any = SimpleNamespace(
        names=("tiny",),
        members=(SimpleNamespace(name="tiny", weight=1.0, own=own),),
        sharing=Sharing.SPACE,
        scenario=Scenario.OFFLINE,
        turns=(),
        device=plan.device,
    )
    jobs = _jobs(joint, tmp_path / "plan", tmp_path, {})
    assert [job.name for job in jobs] == ["plan", "side_by_side", "default"]
    for (member,) in (job.members for job in jobs):
        assert member.batch == 4
        assert {len(array) for array in load_arrays(member.feeds).values()} == {1}
        assert {np.shape(array) for array in feeds_of(member).values()} == {wide.shape}
