"""Outputs of batched candidates compare with those of single samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from autotune.api import baselines, delivery, screening, search
from autotune.core import DEFAULT_LANE, Candidate, Failure, Lane, Measurement, Scenario, StageChoice
from autotune.graph import graph as graphs
from autotune.graph import load, save_arrays
from autotune.planning import Bench
from autotune.profiler import Job, JobStage, run_outputs
from tests.api.conftest import PLENTY_S, quick, write_model


def test_outputs_of_a_batch_are_those_of_one_sample(tmp_path: Path) -> None:
    graph = load(write_model(tmp_path / "model.onnx"), dims={"batch": 1})
    drawn = np.random.default_rng(0).normal(size=(6, 1, 3, 24, 24)).astype(np.float32)
    save_arrays(tmp_path / "feeds.npz", {"images": drawn[0]})
    bench = Bench(graph, work=tmp_path / "stages", feeds=tmp_path / "feeds.npz", scenario=Scenario.OFFLINE)
    whole = StageChoice(start=0, stop=len(graph.kernels), lane=Lane.parse("cpu/f32/t1"))
    for count in (1, 2, 6):  # copies only, some copies, more than one batch
        save_arrays(tmp_path / "samples.npz", {"images": drawn[:count]})
        found = []
        for batch in (1, 4):
            job = bench.job(Candidate(stages=(whole,), callers=1, batch=batch), f"batch{batch}")
            outputs = run_outputs(job, str(tmp_path / "samples.npz"), deadline_s=60)
            assert not isinstance(outputs, Failure)
            found.append(outputs)
        assert [len(outputs) for outputs in found] == [count, count]
        for one, many in zip(*found, strict=True):
            for left, right in zip(one, many, strict=True):
                np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def less_the_mean(path: Path, batch: str | int = "batch") -> Path:
    """A model whose samples depend on each other: copies of one show nothing of it."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["images", "mean"], ["left"]),
        helper.make_node("Mul", ["left", "left"], ["squared"]),
        helper.make_node("Add", ["images", "squared"], ["scores"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, 24, 24]) for name in ("images", "scores")]
    graph = helper.make_graph(nodes, "mean", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def test_different_samples_are_compared_in_one_batch(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).normal(size=(2, 1, 3, 24, 24)).astype(np.float32)
    save_arrays(tmp_path / "samples.npz", {"images": drawn})
    file = str(less_the_mean(tmp_path / "mean.onnx", 4))
    job = Job(name="mean", stages=(JobStage(file=file, lane=DEFAULT_LANE),), outputs=("scores",), feeds="", batch=4)
    outputs = run_outputs(job, str(tmp_path / "samples.npz"), deadline_s=60)
    assert not isinstance(outputs, Failure)
    joined = drawn[[0, 1, 0, 1], 0]
    expected = joined + (joined - joined.mean(axis=0)) ** 2
    np.testing.assert_allclose([sample[0][0] for sample in outputs], expected[:2], rtol=1e-4, atol=1e-5)


@pytest.fixture
def batches_first(monkeypatch: pytest.MonkeyPatch, singles_only: None) -> None:
    """Searches that find batches the fastest of all."""

    def timed(jobs: Sequence[Job], **_: Any) -> list[Measurement]:
        return [Measurement(samples_us=(100.0 if job.batch > 1 else 150.0,) * 3) for job in jobs]

    for module in (baselines, screening):
        monkeypatch.setattr(module, "screen", timed)


@pytest.mark.usefixtures("batches_first")
def test_a_plan_of_batches_is_proved_as_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proved = []

    def noted(job: Job, samples: str, **options: Any) -> Any:
        proved.append(job.batch)
        return run_outputs(job, samples, **options)

    monkeypatch.setattr(delivery, "run_outputs", noted)
    found = search(place / "small.onnx", quick(place, budget_s=PLENTY_S, scenario=Scenario.OFFLINE))
    assert found.plan.batch == 4
    assert proved == [4]


@pytest.mark.usefixtures("batches_first")
def test_a_batch_has_an_output_error_of_its_own(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_check_batch", lambda *_: None)  # which finds it out without the search's inputs
    found = search(less_the_mean(tmp_path / "mean.onnx"), quick(place, budget_s=PLENTY_S, scenario=Scenario.OFFLINE))
    (batch,) = (baseline for baseline in found.plan.baselines if "batch4" in baseline.name)
    assert batch.error is not None
    assert batch.error.relative_rms > 0.1
    assert not batch.feasible
    assert found.plan.batch == 1
