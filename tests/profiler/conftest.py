"""Tiny models as jobs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.core import DEFAULT_LANE
from autotune.profiler import Job, JobStage


def conv_model(path: Path, *, channels: int = 8, layers: int = 2) -> Path:
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for at in range(layers):
        drawn = (rng.standard_normal((channels, channels, 3, 3)) * 0.2).astype(np.float32)
        weights.append(numpy_helper.from_array(drawn, f"w{at}"))
        nodes.append(helper.make_node("Conv", [f"x{at}", f"w{at}"], [f"x{at + 1}"], pads=[1, 1, 1, 1]))
    shape = [1, channels, 8, 8]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", f"x{layers}")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job of two convolutions."""
    model = conv_model(tmp_path / "m.onnx")
    np.savez(tmp_path / "feeds.npz", x0=np.ones((1, 8, 8, 8), np.float32))
    stage = JobStage(file=str(model), lane=DEFAULT_LANE)
    return Job(name="job", stages=(stage,), outputs=("x2",), feeds=str(tmp_path / "feeds.npz"))


@pytest.fixture
def samples(tmp_path: Path) -> str:
    """Three samples for the job."""
    path = tmp_path / "samples.npz"
    np.savez(path, x0=np.random.default_rng(1).standard_normal((3, 1, 8, 8, 8)).astype(np.float32))
    return str(path)
