"""A tiny network, whole and in two stages, and plans of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.core import Lane, ModelInfo, Plan, Scenario, Stage, TensorSpec
from autotune.processors import this_device
from autotune.runtime import write_plan

WIDTH = 8
LANE = Lane.parse("cpu/f32/t1")
X = TensorSpec(name="in.put", dtype="float32", shape=(1, WIDTH))
H = TensorSpec(name="h", dtype="float32", shape=(1, WIDTH))
Y = TensorSpec(name="y", dtype="float32", shape=(1, WIDTH))
Z = TensorSpec(name="z", dtype="float32", shape=(1, WIDTH))


def _info(spec: TensorSpec, *, free: bool) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, ["batch" if free else 1, WIDTH])


def save_model(path: Path, first: int, last: int, *, free: bool = False) -> None:
    """Nodes first..last of: MatMul, Relu -> h, MatMul -> m, Add(m, h) -> y, Neg(h) -> z."""
    nodes = [
        helper.make_node("MatMul", [X.name, "w0"], ["m0"]),
        helper.make_node("Relu", ["m0"], ["h"]),
        helper.make_node("MatMul", ["h", "w1"], ["m1"]),
        helper.make_node("Add", ["m1", "h"], ["y"]),
        helper.make_node("Neg", ["h"], ["z"]),
    ][first:last]
    made = {name for node in nodes for name in node.output}
    used = {name for node in nodes for name in node.input}
    rng = np.random.default_rng(0)
    drawn = {name: rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) for name in ("w0", "w1")}
    weights = [numpy_helper.from_array(array, name) for name, array in drawn.items() if name in used]
    inputs = [_info(spec, free=free) for spec in (X, H) if spec.name in used - made]
    ends = [spec for spec in (H, Y, Z) if spec.name in made and (spec is not H or last <= 2)]
    graph = helper.make_graph(nodes, path.stem, inputs, [_info(spec, free=free) for spec in ends], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)


def stage_files(folder: Path, *, free: bool = False) -> Path:
    """`whole.onnx`, `stage0.onnx`, `stage1.onnx` and their weights."""
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / "whole.onnx", 0, 5, free=free)
    save_model(folder / "stage0.onnx", 0, 2)
    save_model(folder / "stage1.onnx", 2, 5)
    return folder


def make_plan(*, stages: int = 2, lane: Lane = LANE) -> Plan:
    parts: list[tuple[str, int, int, tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]
    if stages == 1:
        parts = [("whole.onnx", 0, 5, (X,), (Y, Z))]
    else:
        parts = [("stage0.onnx", 0, 2, (X,), (H,)), ("stage1.onnx", 2, 5, (H,), (Y, Z))]
    return Plan(
        model=ModelInfo(name="tiny", sha256="0" * 64, inputs=(X,), outputs=(Y, Z)),
        scenario=Scenario.SINGLE_STREAM,
        stages=tuple(
            Stage(
                file=file,
                start=start,
                stop=stop,
                lane=lane,
                inputs=tuple(spec.name for spec in takes),
                outputs=tuple(spec.name for spec in gives),
                operators=stop - start,
            )
            for file, start, stop, takes, gives in parts
        ),
        tolerance=1e-3,
        device=this_device(),
        versions=(("autotune", "0"),),
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return stage_files(tmp_path / "staging")


@pytest.fixture(params=[1, 2], ids=["whole", "staged"])
def plan_folder(request: pytest.FixtureRequest, files: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "plan"
    write_plan(make_plan(stages=request.param), folder, files=files, whole="whole.onnx")
    return folder


@pytest.fixture
def feeds() -> dict[str, np.ndarray]:
    return {X.name: np.random.default_rng(7).standard_normal((1, WIDTH)).astype(np.float32)}


@pytest.fixture
def expected(feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """y and z by NumPy."""
    rng = np.random.default_rng(0)
    w0, w1 = (rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) for _ in range(2))
    hidden = np.maximum(feeds[X.name] @ w0, 0)
    return [hidden @ w1 + hidden, -hidden]


@pytest.fixture
def plan() -> Plan:
    return make_plan()


@pytest.fixture
def stage_folder(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, *, free: bool = False) -> Path:
        return stage_files(tmp_path / name, free=free)

    return make
