"""MultiStream, Server and several objectives end to end, on a small network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import autotune
from autotune.api import bench_plan, search
from autotune.api.settings import Criterion
from autotune.core import Scenario
from autotune.runtime import read_plan

from .conftest import PLENTY_S, quick


@pytest.mark.slow
def test_multi_stream_from_a_model_to_a_plan_that_is_measured_again(place: Path) -> None:
    found = search(place / "small.onnx", quick(place, scenario=Scenario.MULTI_STREAM, budget_s=PLENTY_S))
    plan = found.plan
    assert plan.measured is not None
    assert plan.predicted is not None
    assert 0 < plan.measured.p50_us <= plan.measured.p90_us <= plan.measured.p99_us
    default = next(baseline for baseline in plan.baselines if baseline.name == "default")
    assert default.measured is not None
    assert any("batch8" in baseline.name for baseline in plan.baselines)
    assert found.launched
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (data["scenario"], data["bound_missed"]) == ("MultiStream", False)
    assert any(entry.get("under_load") for entry in data["verified"])
    with autotune.load_plan(found.folder) as loaded:
        shape = loaded.inputs[0].shape
        assert shape is not None
        assert loaded.run(["best"], {"images": np.zeros(shape, np.float32)})[0].shape[0] == plan.batch
    rows = bench_plan(found.folder, launches=2, home=place / "home").rows
    assert all(row.timing is not None and row.timing.p99_us >= row.timing.p50_us for row in rows[:2])


@pytest.mark.slow
def test_server_finds_a_rate_within_a_bound_and_says_where_nothing_keeps_one(place: Path) -> None:
    wanted = quick(place, scenario=Scenario.SERVER, latency_bound_us=1e6, budget_s=PLENTY_S)
    found = search(place / "small.onnx", wanted)
    assert not found.bound_missed
    assert found.plan.measured is not None
    assert found.plan.measured.p99_us <= 1e6
    assert found.plan.measured.throughput_per_s > 0
    assert read_plan(found.folder).latency_bound_us == 1e6
    never = search(place / "small.onnx", quick(place, scenario=Scenario.SERVER, latency_bound_us=1.0, budget_s=30.0))
    assert never.bound_missed
    assert "within 0.001 ms" in never.bound_message
    assert str(never.folder) in never.bound_message
    autotune.load_plan(never.folder).close()


@pytest.mark.slow
def test_a_front_of_latency_and_memory_is_verified_and_written(place: Path, tmp_path: Path) -> None:
    wanted = (Criterion.LATENCY, Criterion.MEMORY)
    found = search(place / "small.onnx", quick(place, objectives=wanted, budget_s=PLENTY_S, output=tmp_path / "plan"))
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["objectives"] == ["latency", "memory"]
    assert data["front"][0]["plan"] == str(tmp_path / "plan")
    assert len(data["front"]) == len(found.front) >= 1
    for point in found.front:
        assert point.plan.measured is not None
        assert point.plan.measured.peak_bytes > 0
        with autotune.load_plan(point.folder) as loaded:
            assert loaded.run(["best"], {"images": np.zeros((1, 3, 24, 24), np.float32)})[0].shape[0] == 1
    assert read_plan(tmp_path / "plan").verdict == found.plan.verdict
