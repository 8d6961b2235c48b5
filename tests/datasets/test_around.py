"""Kernels around others: distinct, valid, deterministic, and they run."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from autotune.core import Constant, Kernel, KernelNode, TensorSpec
from autotune.datasets import kernels_around

Attributes = tuple[tuple[str, int | tuple[int, ...]], ...]


def tensor(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=shape)


def node(op_type: str, inputs: str, output: str, **attributes: int | float | tuple[int, ...]) -> KernelNode:
    return KernelNode(
        op_type=op_type, inputs=tuple(inputs.split()), outputs=(output,), attributes=tuple(sorted(attributes.items()))
    )


def kernel(
    family: str, *nodes: KernelNode, i: list[TensorSpec], w: list[TensorSpec], o: TensorSpec, flops: int
) -> Kernel:
    return Kernel(
        family=family, nodes=nodes, inputs=tuple(i), weights=tuple(w), outputs=(o,), opset=17, flops=flops
    )  # fmt: skip


CONV = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
PARENTS = {
    "convolution": kernel(
        "convolution",
        node("Conv", "i0 w0 w1", "t0", **CONV, strides=(2, 2), group=1),
        node("Sigmoid", "t0", "t1"), node("Mul", "t0 t1", "t2"), node("Add", "t2 i1", "o0"),
        i=[tensor("i0", 1, 32, 40, 40), tensor("i1", 1, 64, 20, 20)],
        w=[tensor("w0", 64, 32, 3, 3), tensor("w1", 64)], o=tensor("o0", 1, 64, 20, 20),
        flops=2 * 64 * 400 * 288 + 5 * 64 * 400,
    ),
    "depthwise": kernel(
        "depthwise",
        node("Conv", "i0 w0", "t0", **CONV, strides=(1, 1), group=48), node("Relu", "t0", "o0"),
        i=[tensor("i0", 1, 48, 14, 14)], w=[tensor("w0", 48, 1, 3, 3)], o=tensor("o0", 1, 48, 14, 14),
        flops=2 * 48 * 196 * 9,
    ),
    "grouped": kernel(
        "convolution",
        node("Conv", "i0 w0", "o0", **CONV, strides=(1, 1), group=4),
        i=[tensor("i0", 1, 32, 14, 14)], w=[tensor("w0", 64, 8, 3, 3)], o=tensor("o0", 1, 64, 14, 14),
        flops=2 * 64 * 196 * 72,
    ),
    "gemm": kernel(
        "matmul",
        node("Gemm", "i0 w0 w1", "o0", transB=1),
        i=[tensor("i0", 1, 512)], w=[tensor("w0", 1000, 512), tensor("w1", 1000)], o=tensor("o0", 1, 1000),
        flops=2 * 512 * 1000,
    ),
    "matmul": kernel(
        "matmul",
        node("MatMul", "i0 w0", "t0"), node("Add", "t0 w1", "o0"),
        i=[tensor("i0", 1, 128, 256)], w=[tensor("w0", 256, 512), tensor("w1", 512)], o=tensor("o0", 1, 128, 512),
        flops=2 * 128 * 256 * 512,
    ),
    "attention": kernel(
        "matmul",
        node("MatMul", "i0 i1", "o0"),
        i=[tensor("i0", 1, 4, 128, 64), tensor("i1", 1, 4, 64, 128)], w=[], o=tensor("o0", 1, 4, 128, 128),
        flops=2 * 4 * 128 * 64 * 128,
    ),
    "elementwise": kernel(
        "elementwise",
        node("Mul", "i0 i1", "o0"),
        i=[tensor("i0", 1, 64, 28, 28), tensor("i1", 1, 64, 1, 1)], w=[], o=tensor("o0", 1, 64, 28, 28),
        flops=64 * 784,
    ),
    "normalisation": kernel(
        "normalisation",
        node("BatchNormalization", "i0 w0 w1 w2 w3", "o0", epsilon=1e-5),
        i=[tensor("i0", 1, 64, 28, 28)], w=[tensor(f"w{n}", 64) for n in range(4)], o=tensor("o0", 1, 64, 28, 28),
        flops=64 * 784 * 2,
    ),
    "pooling": kernel(
        "pooling",
        node("MaxPool", "i0", "o0", kernel_shape=(2, 2), strides=(2, 2)),
        i=[tensor("i0", 1, 64, 28, 28)], w=[], o=tensor("o0", 1, 64, 14, 14),
        flops=64 * 784,
    ),
    "global pooling": kernel(
        "pooling",
        node("GlobalAveragePool", "i0", "o0"),
        i=[tensor("i0", 1, 64, 28, 28)], w=[], o=tensor("o0", 1, 64, 1, 1),
        flops=64 * 784,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARENTS)
def test_every_family_gives_distinct_valid_kernels(name: str) -> None:
    parent = PARENTS[name]
    found = kernels_around([parent], count=15, seed=1)
    assert len({k.signature for k in found} | {parent.signature}) == 16
    for child in found:
        assert child.ops == parent.ops
        assert all(t.is_static and t.elements > 0 for t in (*child.inputs, *child.weights, *child.outputs))
        assert child.flops > 0


def test_flops_count_as_in_the_parent() -> None:
    for child in kernels_around([PARENTS["convolution"]], count=20, seed=2):
        w, o = child.weights[0].shape, child.outputs[0].shape
        assert w is not None
        assert o is not None
        assert child.flops == 2 * math.prod(o) * math.prod(w[1:]) + 5 * math.prod(o)
        assert child.inputs[1].shape == o
    for child in kernels_around([PARENTS["global pooling"]], count=5, seed=2):
        assert child.flops == child.inputs[0].elements
    for child in kernels_around([PARENTS["pooling"]], count=5, seed=2):
        assert child.flops == child.inputs[0].elements


def test_depthwise_stays_depthwise_and_groups_divide() -> None:
    for child in kernels_around([PARENTS["depthwise"]], count=10, seed=3):
        shape = child.inputs[0].shape
        assert shape is not None
        assert dict(child.nodes[0].attributes)["group"] == shape[1]
    for child in kernels_around([PARENTS["grouped"]], count=10, seed=3):
        assert dict(child.nodes[0].attributes)["group"] == 4


def test_same_seed_same_kernels_other_seed_others() -> None:
    parents = list(PARENTS.values())
    first = kernels_around(parents, count=30, seed=1)
    assert first == kernels_around(parents, count=30, seed=1)
    assert first != kernels_around(parents, count=30, seed=2)


def test_families_take_turns() -> None:
    found = kernels_around(list(PARENTS.values()), count=60, seed=1)
    counts = [sum(k.family == family for k in found) for family in {k.family for k in found}]
    assert max(counts) - min(counts) <= 20


def test_what_cannot_be_mutated_safely_is_skipped() -> None:
    reshape = Kernel(
        family="data_movement",
        nodes=(node("Reshape", "i0 c0", "o0"),),
        inputs=(tensor("i0", 1, 64),),
        constants=(Constant(tensor=TensorSpec(name="c0", dtype="int64", shape=(2,)), values=(8, 8)),),
        outputs=(tensor("o0", 8, 8),),
        opset=17,
        flops=0,
    )
    dynamic = Kernel(
        family="elementwise",
        nodes=(node("Relu", "i0", "o0"),),
        inputs=(TensorSpec(name="i0", dtype="float32", shape=(1, -1, 4, 4)),),
        outputs=(TensorSpec(name="o0", dtype="float32", shape=None),),
        opset=17,
        flops=0,
    )
    assert kernels_around([reshape, dynamic], count=5, seed=1) == []
    assert kernels_around([], count=5, seed=1) == []


def alone(kernel: Kernel) -> bytes:
    """The kernel as a model whose weights are inputs."""
    values = [
        helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in (*kernel.inputs, *kernel.weights)
    ]
    outputs = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in kernel.outputs]
    nodes = [helper.make_node(n.op_type, list(n.inputs), list(n.outputs), **dict(n.attributes)) for n in kernel.nodes]
    graph = helper.make_graph(nodes, "kernel", values, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", kernel.opset)], ir_version=10)
    return bytes(model.SerializeToString())


def test_results_run_and_give_the_shapes_they_promise() -> None:
    rng = np.random.default_rng(0)
    for child in kernels_around(list(PARENTS.values()), count=40, seed=4):
        session = ort.InferenceSession(alone(child), providers=["CPUExecutionProvider"])
        feeds = {t.name: rng.random(t.shape, dtype=np.float32) for t in (*child.inputs, *child.weights)}
        assert [found.shape for found in session.run(None, feeds)] == [t.shape for t in child.outputs]


def test_results_can_be_profiled() -> None:
    graph = pytest.importorskip("autotune.graph")
    if not hasattr(graph, "build_kernel"):
        pytest.skip("autotune.graph.build_kernel is not there")
    for child in kernels_around(list(PARENTS.values()), count=20, seed=5):
        model = graph.build_kernel(child)
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs = session.run(None, graph.random_inputs(child.inputs, seed=0))
        assert outputs[0].shape == child.outputs[0].shape
