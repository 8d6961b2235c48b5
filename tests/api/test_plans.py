"""Which baselines a plan is measured beside again."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autotune.api.plans import _jobs, _row
from autotune.core import Baseline, Candidate, Lane, Measurement, Plan, Scenario, StageChoice, Timing
from autotune.graph import extract, load, save_arrays
from autotune.processors import SessionSpec
from autotune.profiler.jobs import feeds_of, open_job
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
    jobs = _jobs(plan, tmp_path / "plan", tmp_path / "feeds.npz", tmp_path)
    assert [job.name for job in jobs] == ["plan", "default", "single:cpu/f32/t1 x2 batch1"]


def test_the_users_own_options_are_measured_on_the_whole_model(tmp_path: Path) -> None:
    write_plan(make_plan(), tmp_path / "plan", files=stage_files(tmp_path / "files"), whole="whole.onnx")
    options = SessionSpec.from_json({"intra_op_num_threads": 1})
    jobs = {job.name: job for job in _jobs(make_plan(), tmp_path / "plan", tmp_path / "feeds.npz", tmp_path, options)}
    assert jobs["user"].spec == options
    assert jobs["user"].stages == jobs["default"].stages
    assert jobs["default"].spec is None


def batched(folder: Path, path: Path) -> tuple[Plan, Path]:
    """An Offline plan for four samples at once of the model at `path`."""
    graph = load(path, shapes={"in.put": (4, 8)})
    (whole,) = extract(graph, [(0, len(graph.kernels))], folder / "files")
    stage = replace(make_plan(stages=1).stages[0], file=whole.path.name)
    info = replace(make_plan().model, inputs=graph.inputs, outputs=graph.outputs)
    plan = replace(make_plan(stages=1), model=info, stages=(stage,), scenario=Scenario.OFFLINE, batch=4, callers=2)
    write_plan(plan, folder / "plan", files=folder / "files", whole=whole.path.name)
    return plan, folder / "plan"


def test_the_default_runs_single_samples_beside_a_plan_of_batches(tmp_path: Path) -> None:
    """As in the search, whose figures are those of the plan's baselines."""
    plan, folder = batched(tmp_path, stage_files(tmp_path / "model", free=True) / "whole.onnx")
    sample = {"in.put": np.ones((1, 8), np.float32)}
    save_arrays(tmp_path / "feeds.npz", sample)
    options = SessionSpec.from_json({"intra_op_num_threads": 1})
    jobs = {job.name: job for job in _jobs(plan, folder, tmp_path / "feeds.npz", tmp_path, options)}
    assert {name: job.batch for name, job in jobs.items()} == {"plan": 4, "default": 1, "user": 1}
    for name, job in jobs.items():
        with contextlib.closing(open_job(job)) as opened:
            y, _ = opened.run(None, feeds_of(job))
            assert len(y) == job.batch, name


def test_a_model_whose_shapes_need_the_batch_keeps_it_and_says_so(tmp_path: Path) -> None:
    """What a runtime folded into constants cannot be undone."""
    shape = numpy_helper.from_array(np.array([4, 8], np.int64), "shape")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 8]) for name in ("in.put", "y")]
    node = helper.make_node("Reshape", ["in.put", "shape"], ["y"])
    graph = helper.make_graph([node], "fixed", ends[:1], ends[1:], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(tmp_path / "fixed.onnx"))
    plan, folder = batched(tmp_path, tmp_path / "fixed.onnx")
    jobs = _jobs(plan, folder, tmp_path / "feeds.npz", tmp_path)
    assert [(job.name, job.batch) for job in jobs] == [("plan", 4), ("default batch4", 4)]


def test_latency_follows_from_throughput_for_every_row(tmp_path: Path) -> None:
    """Two callers with four samples each have eight under way (Little's law), the default's two callers two."""
    plan, folder = batched(tmp_path, stage_files(tmp_path / "model", free=True) / "whole.onnx")
    jobs = _jobs(plan, folder, tmp_path / "feeds.npz", tmp_path)
    found = [Measurement(samples_us=(100.0, 100.0), load_s=0.1, peak_bytes=1)] * 2
    for job in jobs:
        timing = _row(plan, job, found, found).timing
        assert timing is not None
        assert timing.p50_us == 100.0 * job.callers * job.batch
        assert timing.throughput_per_s == 1e4
