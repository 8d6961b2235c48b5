"""Which baselines a plan is measured beside again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autotune.api.plans import _jobs
from autotune.core import Baseline, Candidate, Lane, Scenario, StageChoice, Timing
from autotune.processors import SessionSpec
from autotune.runtime import write_plan
from tests.runtime.conftest import make_plan, stage_files


def baseline(lane: str, *, callers: int, batch: int, per_s: float) -> Baseline:
    stage = StageChoice(start=0, stop=5, lane=Lane.parse(lane))
    at_once_us = 1e6 / per_s * callers * batch
    return Baseline(
        name=f"single:{lane} x{callers} batch{batch}",
        candidate=Candidate(stages=(stage,), callers=callers, batch=batch),
        measured=Timing(p50_us=at_once_us, p90_us=at_once_us, p99_us=at_once_us, throughput_per_s=per_s),
        error=None,
        feasible=True,
    )


def test_baselines_of_another_batch_leave_room_for_those_that_fit(tmp_path: Path) -> None:
    baselines = [
        baseline("cpu/f32/t2", callers=1, batch=4, per_s=90.0),
        baseline("cpu/f32/t1", callers=2, batch=4, per_s=80.0),
        baseline("cpu/f32/t1", callers=2, batch=1, per_s=70.0),
    ]
    plan = replace(make_plan(), scenario=Scenario.OFFLINE, baselines=tuple(baselines))
    write_plan(plan, tmp_path / "plan", files=stage_files(tmp_path / "files"), whole="whole.onnx")
    jobs = _jobs(plan, tmp_path / "plan", tmp_path / "feeds.npz")
    assert [job.name for job in jobs] == ["plan", "default", "single:cpu/f32/t1 x2 batch1"]


def test_the_users_own_options_are_measured_on_the_whole_model(tmp_path: Path) -> None:
    write_plan(make_plan(), tmp_path / "plan", files=stage_files(tmp_path / "files"), whole="whole.onnx")
    options = SessionSpec.from_json({"intra_op_num_threads": 1})
    jobs = {job.name: job for job in _jobs(make_plan(), tmp_path / "plan", tmp_path / "feeds.npz", options)}
    assert jobs["user"].spec == options
    assert jobs["user"].stages == jobs["default"].stages
    assert jobs["default"].spec is None
