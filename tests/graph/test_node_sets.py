"""Stages that are sets of operators: complete, in an order, and refused where they cannot be stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.errors import ModelError, UnknownNameError
from autotune.graph import Graph, extract, extract_sets, load, partition, random_inputs

from .conftest import Net, session


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """Two branches and their sum."""
    net = Net()
    stem = net.op("Softmax", "x", axis=1)
    left, right = net.op("Softmax", stem, axis=2), net.op("Softmax", stem, axis=3)
    return load(net.save(tmp_path / "net.onnx", [net.op("Concat", left, right, axis=1), left]))


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.model.graph.node]


def test_branches_become_stages_that_know_what_they_wait_for(graph: Graph, tmp_path: Path) -> None:
    stem, left, right, join = names(graph)
    stages = partition(graph, [[join], [right], [left], [stem]])
    assert stages[0].operators == (stem,)
    assert stages[-1].after == (1, 2)
    assert {stage.after for stage in stages[1:3]} == {(0,)}
    feeds = random_inputs(graph.inputs, seed=0)
    wanted = session(graph.path).run(None, feeds)
    tensors = dict(feeds)
    for file in extract_sets(graph, stages, tmp_path / "stages"):
        one = session(file.path)
        assert [item.name for item in one.get_inputs()] == [spec.name for spec in file.stage.inputs]
        outputs = [item.name for item in one.get_outputs()]
        assert outputs == [spec.name for spec in file.stage.outputs]
        made = one.run(outputs, {spec.name: tensors[spec.name] for spec in file.stage.inputs})
        tensors |= dict(zip(outputs, made, strict=True))
    for spec, array in zip(graph.outputs, wanted, strict=True):
        np.testing.assert_array_equal(tensors[spec.name], array)


def test_sets_that_cannot_be_stages_are_refused(graph: Graph) -> None:
    stem, left, right, join = names(graph)
    with pytest.raises(ModelError, match="in a circle"):
        partition(graph, [[stem, join], [left, right]])
    with pytest.raises(ModelError, match="1 operators of net are in no set"):
        partition(graph, [[stem, left, right]])
    with pytest.raises(ModelError, match="in the sets 0 and 1"):
        partition(graph, [[stem, left], [left, right, join]])
    with pytest.raises(ModelError, match="holds no operator"):
        partition(graph, [[stem, left, right, join], []])
    with pytest.raises(UnknownNameError, match="nobody"):
        partition(graph, [["nobody"]])


def test_stages_load_where_onnxruntime_fuses_what_it_did_not_fuse_in_the_whole(tmp_path: Path) -> None:
    """It makes initializers `gemm_input_shape…` once more, and fails where the prepared model has one of that name."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.standard_normal((8, 8)).astype(np.float32), f"w{at}") for at in range(2)]
    weights += [numpy_helper.from_array(rng.standard_normal(8).astype(np.float32), "bias")]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="a"),
        helper.make_node("MatMul", ["a", "w1"], ["b"], name="b"),
        helper.make_node("Add", ["b", "bias"], ["y"], name="y"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8]) for name in ("x", "y")]
    model = helper.make_model(
        helper.make_graph(nodes, "net", ends[:1], ends[1:], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, str(tmp_path / "net.onnx"))
    graph = load(tmp_path / "net.onnx")
    assert not [name for name in graph.initializers if name.startswith("gemm_")]
    files = extract(graph, [(0, 1), (1, len(graph.kernels))], tmp_path / "stages")
    assert all(isinstance(session(file.path), ort.InferenceSession) for file in files)
