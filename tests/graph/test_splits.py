"""Operators divided between lanes: any chain, any axis and any ratio give the outputs of the whole model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from autotune.errors import SplitError, UnknownNameError
from autotune.graph import (
    Graph,
    Split,
    SplitKind,
    divide,
    extract,
    extract_sets,
    find_sites,
    load,
    partition,
    random_inputs,
)

from .conftest import session

Array = np.ndarray[Any, Any]


class Builder:
    """Collects nodes and random weights; every tensor has a name of its own."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, array: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int, around: float = 0.0) -> str:
        return self.constant((self.rng.standard_normal(shape) * 0.3 + around).astype(np.float32))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"t{len(self.nodes)}", *(f"t{len(self.nodes)}.{at}" for at in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names[0]

    def save(self, path: Path, shapes: dict[str, tuple[int, ...]], *outputs: str, opset: int = 17) -> Path:
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
        rank = len(shapes["x"])
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", inputs, ends, self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), str(path))
        return path


def assert_equal_outputs(graph: Graph, splits: list[Split], folder: Path) -> None:
    """The divided model, run as its stages, against the whole one."""
    feeds = random_inputs(graph.inputs, seed=1)
    wanted = session(graph.path).run(None, feeds)
    divided = divide(graph, splits, work=folder / "divided")
    onnx.checker.check_model(str(divided.graph.path), full_check=True)
    stages = partition(divided.graph, divided.stages())
    tensors = dict(feeds)
    for file in extract_sets(divided.graph, stages, folder / "stages"):
        stage = session(file.path)
        names = [spec.name for spec in file.stage.outputs]
        tensors |= dict(zip(names, stage.run(names, {s.name: tensors[s.name] for s in file.stage.inputs}), strict=True))
    for spec, whole in zip(graph.outputs, wanted, strict=True):
        scale = float(np.sqrt(np.mean(whole**2)))
        np.testing.assert_allclose(tensors[spec.name], whole, rtol=0, atol=3e-6 * max(scale, 1.0))


def assert_any_site_works(graph: Graph, data: st.DataObject, folder: Path) -> None:
    sites = find_sites(graph)
    assert sites
    site = data.draw(st.sampled_from(sites))
    share = data.draw(st.floats(0.05, 0.95))
    choices = [(share, 1 - share), (share, 0.5, 0.5)] if site.size > 8 else [(share, 1 - share)]
    shares = data.draw(st.sampled_from(choices))
    split = Split(operators=site.operators, axis=site.axis, shares=shares)
    if len(shares) > 2:
        try:
            divide(graph, [split])
        except SplitError:  # three parts do not fit everywhere
            return
    assert_equal_outputs(graph, [split], folder)


CHANNELS = 6


@st.composite
def windows(draw: st.DrawFn, *, pool: bool = False) -> dict[str, Any]:
    """Attributes of a window that fits any plane of at least 9."""
    size = draw(st.integers(2 if pool else 1, 3))
    found: dict[str, Any] = {"kernel_shape": [size, draw(st.integers(2 if pool else 1, 3))]}
    found["strides"] = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    if not pool:
        found["dilations"] = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    padding = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding != "pads":
        return found | {"auto_pad": padding} | ({"dilations": [1, 1]} if not pool else {})
    return found | {"pads": [draw(st.integers(0, 1)) for _ in range(4)]}


@st.composite
def conv_nets(draw: st.DrawFn) -> tuple[int, list[tuple[str, dict[str, Any]]]]:
    kinds = ["conv", "grouped", "depthwise", "relu", "silu", "batchnorm", "residual", "maxpool", "averagepool", "split"]
    steps = draw(st.lists(st.sampled_from(kinds), min_size=0, max_size=4))
    made = [("conv", draw(windows()))]
    return draw(st.integers(0, 99)), made + [(kind, draw(windows(pool="pool" in kind))) for kind in steps]


def conv_net(seed: int, steps: list[tuple[str, dict[str, Any]]], path: Path) -> Path:
    net = Builder(seed)
    x = "x"
    for kind, window in steps:
        groups = {"conv": 1, "grouped": 3, "depthwise": CHANNELS}.get(kind)
        if groups:
            weight = net.weight(CHANNELS, CHANNELS // groups, *window["kernel_shape"])
            x = net.op("Conv", x, weight, net.weight(CHANNELS), group=groups, **window)
        elif kind == "relu":
            x = net.op("Relu", x)
        elif kind == "silu":
            x = net.op("Mul", x, net.op("Sigmoid", x))
        elif kind == "batchnorm":
            x = net.op("Softmax", x, axis=-1)  # keeps the normalisation from being folded into a convolution
            x = net.op("BatchNormalization", x, *(net.weight(CHANNELS, around=1.5) for _ in range(4)))
        elif kind == "residual":
            x = net.op("Add", net.op("Conv", x, net.weight(CHANNELS, CHANNELS, 3, 3), pads=[1] * 4), x)
        elif kind == "split":
            x = net.op("Split", x, axis=1, outputs=2, num_outputs=2)
            x = net.op("Concat", net.op("Neg", f"{x}.1"), x, axis=1)
        elif kind == "maxpool":
            x = net.op("MaxPool", x, ceil_mode=int(seed % 2 and "pads" in window), **window)
        else:
            x = net.op("AveragePool", x, count_include_pad=seed % 2, **window)
    return net.save(path, {"x": (2, CHANNELS, 41, 38)}, x, opset=18)


@settings(max_examples=60, deadline=None)
@given(conv_nets(), st.data())
def test_convolutions_and_what_follows_them(
    net: tuple[int, list[tuple[str, dict[str, Any]]]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        graph = load(conv_net(*net, Path(folder) / "net.onnx"))
        assert_any_site_works(graph, data, Path(folder))


def attention(path: Path, *, heads: int, width: int, length: int) -> Path:
    """Projections, heads, MatMul–Softmax–MatMul, projection, normalisation."""
    net, size = Builder(heads), heads * width

    def project(x: str) -> str:
        x = net.op("Add", net.op("MatMul", x, net.weight(size, size)), net.weight(size))
        x = net.op("Reshape", x, net.constant(np.array([0, 0, heads, width], np.int64)))
        return net.op("Transpose", x, perm=[0, 2, 1, 3])

    query, key, value = (project("x") for _ in range(3))
    scores = net.op("MatMul", query, net.op("Transpose", key, perm=[0, 1, 3, 2]))
    scores = net.op("Add", net.op("Mul", scores, net.constant(np.array(0.3, np.float32))), net.weight(1, 1, 1, length))
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), value)
    joined = net.op(
        "Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), net.constant(np.array([0, 0, -1], np.int64))
    )
    y = net.op("Add", net.op("MatMul", joined, net.weight(size, size)), "x")
    y = net.op("LayerNormalization", y, net.weight(size, around=1), net.weight(size))
    return net.save(path, {"x": (1, length, size)}, y)


@settings(max_examples=25, deadline=None)
@given(heads=st.integers(2, 5), width=st.integers(2, 6), length=st.integers(2, 9), data=st.data())
def test_attention(heads: int, width: int, length: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        graph = load(attention(Path(folder) / "net.onnx", heads=heads, width=width, length=length))
        assert_any_site_works(graph, data, Path(folder))


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(st.integers(2, 9), st.integers(1, 9), st.integers(2, 9)),
    transposed=st.tuples(st.booleans(), st.booleans()),
    added=st.sampled_from([None, "scalar", "row", "column", "full"]),
    data=st.data(),
)
def test_matrix_products(
    sizes: tuple[int, int, int], transposed: tuple[bool, bool], added: str | None, data: st.DataObject
) -> None:
    rows, inner, columns = sizes
    net = Builder(rows)
    right = net.weight(*((columns, inner) if transposed[1] else (inner, columns)))
    shape = {"scalar": (1,), "row": (columns,), "column": (rows, 1), "full": (rows, columns)}.get(added or "")
    third = [net.weight(*shape)] if shape else []
    y = net.op("Gemm", "x", right, *third, transA=int(transposed[0]), transB=int(transposed[1]), alpha=0.5)
    y = net.op("Gemm", net.op("Tanh", y), net.weight(columns, 3))
    with tempfile.TemporaryDirectory() as folder:
        left = (inner, rows) if transposed[0] else (rows, inner)
        graph = load(net.save(Path(folder) / "net.onnx", {"x": left}, y))
        assert_any_site_works(graph, data, Path(folder))


def sites_of(graph: Graph) -> set[tuple[SplitKind, int]]:
    return {(site.kind, len(site.kernels)) for site in find_sites(graph)}


def test_attention_is_divided_by_heads_from_the_scores_to_the_mixed_values(tmp_path: Path) -> None:
    graph = load(attention(tmp_path / "net.onnx", heads=4, width=8, length=6))
    heads = [site for site in find_sites(graph) if site.kind is SplitKind.HEADS]
    kinds = {node.name: node.op_type for node in graph.model.graph.node}
    chain = max(heads, key=lambda site: len(site.kernels))
    assert [kinds[name] for name in chain.operators].count("MatMul") == 2
    assert "Softmax" in {kinds[name] for name in chain.operators}
    divided = divide(graph, [Split(operators=chain.operators, axis=chain.axis, shares=(0.3, 0.7))])
    assert divided.ends == ((8, 32),)  # columns of a whole head, though 0.3 of 32 would be 10


def test_a_chain_stays_divided_where_its_parts_need_not_meet(tmp_path: Path) -> None:
    net = Builder(0)
    x = net.op("Relu", net.op("Conv", "x", net.weight(8, 3, 3, 3)))
    x = net.op("Relu", net.op("Conv", x, net.weight(8, 1, 3, 3), group=8))
    x = net.op("Relu", net.op("Conv", x, net.weight(4, 8, 1, 1)))
    graph = load(net.save(tmp_path / "net.onnx", {"x": (1, 3, 20, 20)}, x))
    found = sites_of(graph)
    assert {(SplitKind.CHANNELS, 2), (SplitKind.HEIGHT, 3)} <= found
    assert (SplitKind.CHANNELS, 3) not in found  # every output channel of the last one needs all of its inputs


def test_a_halo_is_computed_twice_and_no_more(tmp_path: Path) -> None:
    net = Builder(0)
    x = net.op("Conv", "x", net.weight(3, 3, 3, 3), pads=[1] * 4)
    x = net.op("Conv", x, net.weight(3, 3, 5, 5), pads=[2] * 4)
    graph = load(net.save(tmp_path / "net.onnx", {"x": (1, 3, 40, 40)}, x))
    divided = divide(graph, [Split(operators=("t0", "t1"), axis=2, shares=(1, 3))])
    rows = {name: spec.shape[2] for name, spec in divided.graph.specs.items() if spec.shape and len(spec.shape) == 4}
    assert divided.ends == ((10, 40),)
    assert [rows["t1/split0.part0"], rows["t1/split0.part1"]] == [10, 30]
    assert [rows["t0/split0.part0"], rows["t0/split0.part1"]] == [12, 32]  # two more for a window of five
    assert sorted(r for name, r in rows.items() if name.startswith("x/")) == [13, 33]  # and one for a window of three


def test_weights_are_cut_not_doubled(tmp_path: Path) -> None:
    net = Builder(0)
    x = net.op("MatMul", "x", net.weight(64, 96))
    graph = load(net.save(tmp_path / "net.onnx", {"x": (4, 64)}, x))
    divided = divide(graph, [Split(operators=("t0",), axis=-1, shares=(0.25, 0.75), multiple=8)])
    assert divided.ends == ((24, 96),)
    assert (divided.graph.path.parent / "weights.bin").stat().st_size == 64 * 96 * 4
    sizes = [tensor.dims[1] for tensor in divided.graph.initializers.values() if len(tensor.dims) == 2]
    assert sizes == [24, 72]


def test_weights_that_stages_share_can_be_cut_too(tmp_path: Path) -> None:
    net = Builder(0)
    hidden = net.op("MatMul", "x", net.weight(64, 96))
    y = net.op("MatMul", hidden, net.weight(96, 32))
    graph = load(net.save(tmp_path / "net.onnx", {"x": (4, 64)}, y))
    extract(graph, [(0, 1), (1, 2)], tmp_path / "stages")
    assert (graph.path.parent / "weights.bin").stat().st_nlink > 1
    assert_equal_outputs(graph, [Split(operators=("t0",), axis=-1, shares=(0.5, 0.5), multiple=8)], tmp_path / "split")


def test_several_chains_are_divided_at_once_and_a_divided_model_once_more(tmp_path: Path) -> None:
    net = Builder(0)
    first = net.op("Conv", "x", net.weight(8, 8, 3, 3), pads=[1] * 4)
    second = net.op("Conv", first, net.weight(8, 8, 3, 3), pads=[1] * 4)
    beside = net.op("Conv", "x", net.weight(8, 8, 1, 1))
    y = net.op("Add", second, beside)
    graph = load(net.save(tmp_path / "net.onnx", {"x": (1, 8, 12, 12)}, y))
    splits = [
        Split(operators=(second, y), axis=2, shares=(0.4, 0.6)),
        Split(operators=(first,), axis=1, shares=(0.5, 0.5)),
    ]
    assert_equal_outputs(graph, splits, tmp_path / "both")
    once = divide(graph, splits, work=tmp_path / "once")
    assert [len(part) for parts in once.parts for part in parts]
    assert all(name.startswith((second, y)) or "/" in name for part in once.parts[0] for name in part)
    assert_equal_outputs(once.graph, [Split(operators=(beside,), axis=1, shares=(0.2, 0.8))], tmp_path / "again")


def test_what_cannot_be_divided_says_why(tmp_path: Path) -> None:
    net = Builder(0)
    a = net.op("Conv", "x", net.weight(6, 2, 3, 3), group=3)
    b = net.op("Softmax", a, axis=1)
    c = net.op("Conv", b, net.weight(6, 6, 1, 1))
    d = net.op("Add", c, net.op("Sqrt", a))
    graph = load(net.save(tmp_path / "net.onnx", {"x": (1, 6, 9, 9)}, d))

    def refuse(
        match: str, *operators: str, axis: int = 1, shares: tuple[float, ...] = (0.5, 0.5), multiple: int = 1
    ) -> None:
        with pytest.raises(SplitError, match=match):
            divide(graph, [Split(operators=operators, axis=axis, shares=shares, multiple=multiple)])

    refuse("no whole groups of 2", a, multiple=3)
    refuse("sums over the axis", b)
    refuse("parts must meet at", b, c)
    refuse("must give one tensor", a, b)
    refuse("there is no axis 4", c, axis=4)
    refuse("too short", a, shares=(0.2,) * 5)
    refuse("two or more positive shares", c, shares=(1.0,))
    refuse("two or more positive shares", c, shares=(1.0, -1.0))
    with pytest.raises(UnknownNameError, match="nothing"):
        divide(graph, [Split(operators=("nothing",), axis=0, shares=(1, 1))])
    with pytest.raises(SplitError, match="in two splits"):
        divide(graph, [Split(operators=(c,), axis=1, shares=(1, 1)), Split(operators=(c,), axis=2, shares=(1, 1))])


def test_the_folder_of_a_divided_model_goes_with_it(tmp_path: Path) -> None:
    net = Builder(0)
    graph = load(net.save(tmp_path / "net.onnx", {"x": (4, 64)}, net.op("MatMul", "x", net.weight(64, 96))))
    divided = divide(graph, [Split(operators=("t0",), axis=1, shares=(1, 1))])
    path = divided.graph.path
    assert path.exists()
    del divided
    assert not path.exists()
