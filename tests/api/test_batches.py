"""Outputs of batched candidates compare with those of single samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autotune.core import Candidate, Failure, Lane, Scenario, StageChoice
from autotune.graph import load, save_arrays
from autotune.planning import Bench
from autotune.profiler import run_outputs
from tests.api.conftest import write_model


def test_outputs_of_a_batch_are_those_of_one_sample(tmp_path: Path) -> None:
    graph = load(write_model(tmp_path / "model.onnx"), dims={"batch": 1})
    drawn = np.random.default_rng(0).normal(size=(2, 1, 3, 24, 24)).astype(np.float32)
    save_arrays(tmp_path / "feeds.npz", {"images": drawn[0]})
    save_arrays(tmp_path / "samples.npz", {"images": drawn})
    bench = Bench(graph, work=tmp_path / "stages", feeds=tmp_path / "feeds.npz", scenario=Scenario.OFFLINE)
    whole = StageChoice(start=0, stop=len(graph.kernels), lane=Lane.parse("cpu/f32/t1"))
    found = []
    for batch in (1, 4):
        job = bench.job(Candidate(stages=(whole,), callers=1, batch=batch), f"batch{batch}")
        outputs = run_outputs(job, str(tmp_path / "samples.npz"), deadline_s=60)
        assert not isinstance(outputs, Failure)
        found.append(outputs)
    for one, many in zip(*found, strict=True):
        for left, right in zip(one, many, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
