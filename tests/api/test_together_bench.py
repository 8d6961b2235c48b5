"""A joint plan measured again: as it runs, and beside each model's own best plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autotune.api import bench_plans, searching, together_bench, together_delivery
from autotune.api.delivery import build_plan
from autotune.api.run import Contender, Run
from autotune.api.together_bench import _jobs
from autotune.core import (
    Candidate,
    JointMember,
    Lane,
    Measurement,
    OutputError,
    Plan,
    Scenario,
    Sharing,
    StageChoice,
    TensorSpec,
    Timing,
)
from autotune.errors import StoreError
from autotune.graph import load_arrays
from autotune.planning import Decision
from autotune.profiler import JointJob
from autotune.profiler.jobs import feeds_of
from autotune.runtime import check_target, write_plan
from tests.runtime.conftest import make_plan, stage_files

from .conftest import measured_by, pinned, search_pair

TIMING = Timing(p50_us=1.0, p90_us=1.0, p99_us=1.0, throughput_per_s=1e6)


def test_each_model_runs_its_batch(tmp_path: Path) -> None:
    own = Candidate(stages=(StageChoice(start=0, stop=5, lane=Lane.parse("cpu/f32/t1")),), callers=2, batch=4)
    plan = replace(make_plan(), scenario=Scenario.OFFLINE, callers=2, batch=4)
    (tensor,) = plan.model.inputs
    wide = TensorSpec(name=tensor.name, shape=(4, 8), dtype=tensor.dtype)
    plan = replace(plan, model=replace(plan.model, inputs=(wide,)))
    write_plan(plan, tmp_path / "plan" / "tiny", files=stage_files(tmp_path / "files"), whole="whole.onnx")
    joint: Any = SimpleNamespace(
        names=("tiny",),
        members=(JointMember(name="tiny", own=own, alone=TIMING),),
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


def two_stages(run: Run) -> Decision:
    """Stands in for `decide_run`: the model in two stages is its best."""
    cut = next(cut.position for cut in run.task.graph.cuts if cut.legal and 0 < cut.position < run.kernels)
    ranges = ((0, cut, "cpu/f32/t2"), (cut, run.kernels, "cpu/f32/t1"))
    stages = tuple(StageChoice(start=start, stop=stop, lane=Lane.parse(lane)) for start, stop, lane in ranges)
    candidate = Candidate(stages=stages)
    name = f"plan:{candidate.hash}"
    exact = OutputError(relative_rms=0.0, max_abs=0.0)
    run.contenders[name] = Contender(
        name=name,
        job=run.bench.job(candidate, name),
        candidate=candidate,
        result=Measurement(samples_us=(50.0,) * 3),
        error=exact,
        held_out=exact,
    )
    best = run.best_feasible_single()
    assert best is not None
    return Decision(winner=name, best_single=best.name, challenger=name, over={}, challenger_gain=None)


@pytest.mark.parametrize("kept", [True, False])
def test_own_best_partitions_are_measured_again_side_by_side(
    pair: Path, hasty: object, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    def build(
        run: Run, winner: Contender, decision: Decision | None, *, folder: Path, **given: Any
    ) -> tuple[Plan, Path]:
        if folder.parent.name == "own" and not kept:
            raise StoreError("No space left on device")
        return build_plan(run, winner, decision, folder=folder, **given)

    monkeypatch.setattr(searching, "decide_run", two_stages)
    monkeypatch.setattr(together_delivery, "build_plan", build)
    result = search_pair(pair)
    assert result.plan.sharing is Sharing.SPACE
    assert bool([text for text in result.warnings if "not kept for bench" in text]) is not kept
    stages: dict[str, list[int]] = {}

    def speed(job: JointJob) -> float:
        stages[job.name] = [len(member.stages) for member in job.members]
        return 0.7 if pinned(job) else 0.5

    monkeypatch.setattr(together_bench, "measure_together", measured_by(speed))
    found = bench_plans(result.folder, launches=2, home=pair / "home")
    assert [row.name for row in found.rows] == ["plan", "side_by_side", "default"]
    side = found.rows[1]
    assert bool(side.failure) is not kept
    if kept:
        assert stages["side_by_side"] == [2, 2]
        assert side.plan_gain is not None
        assert side.plan_gain.ratio == pytest.approx(1.4)
    check_target(result.folder)  # it may be replaced: all in it is the plan's
