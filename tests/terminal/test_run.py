"""`autotune run` on inputs that a stage fails on, and on those whose outputs differ in shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.cli import main
from autotune.core import Plan, TensorSpec
from autotune.runtime import write_plan
from tests.runtime.conftest import make_plan


def plan_of(folder: Path, nodes: list[onnx.NodeProto], given: TensorSpec, found: TensorSpec) -> Path:
    """A plan of one stage with these nodes, which may use a `table` of 8."""
    (folder / "files").mkdir()
    table = numpy_helper.from_array(np.arange(8, dtype=np.float32), "table")
    types = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
    takes = helper.make_tensor_value_info(given.name, types[given.dtype], [4])
    gives = helper.make_tensor_value_info(found.name, types[found.dtype], None)
    graph = helper.make_graph(nodes, "net", [takes], [gives], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "files" / "whole.onnx"))
    base: Plan = make_plan(stages=1)
    stage = replace(base.stages[0], inputs=(given.name,), outputs=(found.name,))
    plan = replace(base, model=replace(base.model, inputs=(given,), outputs=(found,)), stages=(stage,))
    write_plan(plan, folder / "plan", files=folder / "files", whole="whole.onnx")
    return folder / "plan"


@pytest.fixture(autouse=True)
def in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["autotune", "run", "plan", *arguments])
    try:
        main()
    except SystemExit as ended:
        return int(str(ended.code or 0))
    return 0


def test_a_token_beyond_the_vocabulary_ends_in_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = TensorSpec(name="tokens", dtype="int64", shape=(4,))
    found = TensorSpec(name="y", dtype="float32", shape=(4,))
    plan_of(tmp_path, [helper.make_node("Gather", ["table", "tokens"], ["y"])], given, found)
    np.savez(tmp_path / "x.npz", tokens=np.array([1, 2, 3, 99]))
    assert run(monkeypatch, "--inputs", "x.npz") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("autotune: the stage whole.onnx on cpu/f32/t1 failed: ")
    assert "99" in said.err


def test_outputs_that_differ_in_shape_are_written_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of NonMaxSuppression: how many there are depends on the data."""
    given = TensorSpec(name="x", dtype="float32", shape=(4,))
    found = TensorSpec(name="y", dtype="int64", shape=None)
    plan_of(tmp_path, [helper.make_node("NonZero", ["x"], ["y"])], given, found)
    np.savez(tmp_path / "x.npz", x=np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], np.float32))
    assert run(monkeypatch, "--inputs", "x.npz", "-o", "out.npz") == 0
    assert "y int64[1, 0]" in capsys.readouterr().out
    with np.load(tmp_path / "out.npz") as stored:
        assert {name: stored[name].tolist() for name in stored.files} == {
            "y.0": [[1, 3]],
            "y.1": [[]],
            "y.2": [[0, 1, 2]],
        }
    np.savez(tmp_path / "x.npz", x=np.array([[0, 1, 0, 1], [1, 1, 0, 0]], np.float32))
    assert run(monkeypatch, "--inputs", "x.npz", "-o", "out.npz") == 0
    with np.load(tmp_path / "out.npz") as stored:
        assert stored["y"].tolist() == [[[1, 3]], [[0, 1]]]
