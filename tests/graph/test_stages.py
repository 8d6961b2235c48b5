"""Cutting anywhere legal and running the stages one after the other gives the model's outputs."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.errors import ModelError
from autotune.graph import Graph, extract, load, random_inputs

from .conftest import Net, session

STEPS = ("conv", "relu", "silu", "add", "concat", "sigmoid", "residual", "softmax")


def random_net(steps: list[tuple[str, int]], outputs: int, path: Path) -> Path:
    net = Net(seed=len(steps))
    made = [net.conv("x")]
    for kind, back in steps:
        x = made[-1 - back % len(made)]
        last = made[-1]
        if kind == "conv":
            made.append(net.conv(last))
        elif kind == "relu":
            made.append(net.op("Relu", last))
        elif kind == "silu":
            made.append(net.op("Mul", last, net.op("Sigmoid", last)))
        elif kind == "add":
            made.append(net.op("Add", last, x))
        elif kind == "residual":
            made.append(net.op("Relu", net.op("Add", net.conv(last), x)))
        elif kind == "concat":
            joined = net.op("Concat", last, x, axis=1)
            made.append(net.op("Conv", joined, net.weight(4, 8, 1, 1)))
        elif kind == "softmax":
            made.append(net.op("Softmax", last, axis=1))
        else:
            made.append(net.op("Sigmoid", last))
    return net.save(path, list(dict.fromkeys(made[-outputs:])))


def run_stages(graph: Graph, ends: list[int], feeds: dict[str, Any], folder: Path, *, extended: bool) -> list[Any]:
    tensors = dict(feeds)
    for file in extract(graph, list(pairwise(ends)), folder):
        stage = session(file.path, extended=extended)
        names = [item.name for item in stage.get_outputs()]
        values = stage.run(names, {item.name: tensors[item.name] for item in stage.get_inputs()})
        tensors |= dict(zip(names, values, strict=True))
        assert names == [tensor.name for tensor in file.outputs]
    return [tensors[tensor.name] for tensor in graph.outputs]


@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), min_size=1, max_size=9),
    outputs=st.integers(1, 3),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_stages_give_the_outputs_of_the_whole(steps: list[tuple[str, int]], outputs: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = random_net(steps, outputs, Path(folder) / "net.onnx")
        graph = load(path)
        legal = [cut.position for cut in graph.cuts if cut.legal]
        chosen = data.draw(st.sets(st.sampled_from(legal))) | {0, len(graph.kernels)}
        feeds = random_inputs(graph.inputs, seed=1)
        for extended in (True, False):
            wanted = session(path, extended=extended).run(None, feeds)
            got = run_stages(graph, sorted(chosen), feeds, Path(folder) / f"stages{extended}", extended=extended)
            for left, right in zip(wanted, got, strict=True):
                if extended:
                    np.testing.assert_array_equal(left, right)
                else:
                    scale = float(np.sqrt(np.mean(left**2))) or 1.0
                    assert float(np.sqrt(np.mean((left - right) ** 2))) <= 1e-6 * scale


def test_weights_are_stored_once(tmp_path: Path) -> None:
    net = Net()
    x = "x"
    for _ in range(6):
        x = net.op("Conv", x, net.weight(4, 4, 9, 9), pads=[4, 4, 4, 4])
    graph = load(net.save(tmp_path / "net.onnx", [x]))
    folder = tmp_path / "stages"
    extract(graph, [(at, at + 1) for at in range(6)] + [(0, 6)], folder)
    weights = (folder / "weights.bin").stat().st_size
    assert weights >= 6 * 4 * 4 * 81 * 4
    assert sum(file.stat().st_size for file in folder.glob("*.onnx")) < weights


def test_skip_connections_cross_a_cut_together(tmp_path: Path) -> None:
    net = Net()
    first = net.op("Softmax", "x", axis=1)
    second = net.op("Softmax", first, axis=2)
    third = net.op("Concat", first, second, axis=1)
    out = net.op("Conv", third, net.weight(4, 8, 1, 1))
    graph = load(net.save(tmp_path / "net.onnx", [out]))
    (cut,) = [cut for cut in graph.cuts if cut.position == 2]
    assert cut.legal
    assert cut.bytes == 2 * 4 * 6 * 6 * 4
    assert {tensor.name for tensor in cut.tensors} == {first, second}


def test_a_range_that_is_none_is_refused(tmp_path: Path) -> None:
    net = Net()
    graph = load(net.save(tmp_path / "net.onnx", [net.conv("x")]))
    with pytest.raises(ModelError, match="cannot be cut"):
        extract(graph, [(1, 1)], tmp_path / "stages")
