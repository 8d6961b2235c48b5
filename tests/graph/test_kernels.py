"""Kernels: what fuses, what they cost, and that each runs alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from autotune.core import Kernel
from autotune.graph import build_kernel, chainable, load, random_inputs

from .conftest import Net, session


def kernels(net: Net, outputs: list[str], path: Path) -> list[Kernel]:
    return [use.kernel for use in load(net.save(path / "net.onnx", outputs)).kernels]


def test_a_convolution_takes_its_activation_along(tmp_path: Path) -> None:
    net = Net()
    x = net.conv("x")
    (kernel,) = kernels(net, [net.op("Mul", x, net.op("Sigmoid", x))], tmp_path)
    assert kernel.ops == "Conv+Sigmoid+Mul"
    assert kernel.family == "convolution"


def test_a_residual_addition_and_its_activation_fuse(tmp_path: Path) -> None:
    net = Net()
    left, right = net.op("Softmax", "x", axis=1), net.conv("x")
    found = kernels(net, [net.op("Relu", net.op("Add", right, left))], tmp_path)
    assert [kernel.ops for kernel in found] == ["Softmax", "Conv+Add+Relu"]


def test_an_activation_that_something_else_needs_is_not_taken(tmp_path: Path) -> None:
    net = Net()
    x = net.conv("x")
    found = kernels(net, [net.op("Relu", x), net.op("Softmax", x, axis=1)], tmp_path)
    assert sorted(kernel.ops for kernel in found) == ["Conv", "Relu", "Softmax"]


def test_gelu_of_several_operators_is_one_kernel(tmp_path: Path) -> None:
    net = Net()
    for name, number in (("root", 1.4142), ("one", 1.0), ("half", 0.5)):
        net.weights.append(numpy_helper.from_array(np.float32(number), name))
    x = net.conv("x")
    grown = net.op("Add", net.op("Erf", net.op("Div", x, "root")), "one")
    (kernel,) = kernels(net, [net.op("Mul", net.op("Mul", x, grown), "half")], tmp_path)
    assert kernel.ops.startswith("Conv+")


def test_gelu_alone_is_one_kernel(tmp_path: Path) -> None:
    net = Net()
    for name, number in (("root", 1.4142), ("one", 1.0), ("half", 0.5)):
        net.weights.append(numpy_helper.from_array(np.float32(number), name))
    x = net.op("Softmax", "x", axis=1)  # nothing takes it along
    grown = net.op("Add", net.op("Erf", net.op("Div", x, "root")), "one")
    found = kernels(net, [net.op("Mul", net.op("Mul", x, grown), "half")], tmp_path)
    assert [kernel.ops for kernel in found] == ["Softmax", "Div+Erf+Add+Mul+Mul"]
    assert len(found[1].inputs) == 1


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_one_kernel(tmp_path: Path, masked: bool) -> None:
    net = Net()
    net.weights.append(numpy_helper.from_array(np.float32(8.0), "root"))
    q, k, v, mask = (net.op("Softmax", "x", axis=axis) for axis in (1, 2, 3, -1))
    scores = net.op("Div", net.op("MatMul", q, k), "root")
    scores = net.op("Add", scores, mask) if masked else scores
    found = kernels(net, [net.op("MatMul", net.op("Softmax", scores, axis=-1), v)], tmp_path)
    (own,) = [kernel for kernel in found if kernel.family == "attention"]
    assert own.ops == f"MatMul+Div+{'Add+' if masked else ''}Softmax+MatMul"
    assert len(own.inputs) == 3 + masked
    assert chainable(own)


def test_a_product_takes_along_what_reshapes_its_rows_and_a_convolution_does_not(tmp_path: Path) -> None:
    net = Net()
    net.weights.append(numpy_helper.from_array(np.ones((6, 6), dtype=np.float32), "w"))
    net.weights.append(numpy_helper.from_array(np.array([1, 4, 36]), "shape"))
    product = net.op("Reshape", net.op("MatMul", "x", "w"), "shape")
    image = net.op("Reshape", net.conv("x"), "shape")
    found = kernels(net, [net.op("Relu", product), net.op("Relu", image)], tmp_path)
    assert sorted(kernel.ops for kernel in found) == ["Conv", "MatMul+Reshape+Relu", "Relu", "Reshape"]


def test_a_softmax_between_products_with_weights_is_none(tmp_path: Path) -> None:
    net = Net()
    net.weights.append(numpy_helper.from_array(np.ones((6, 6), dtype=np.float32), "w"))
    found = kernels(net, [net.op("MatMul", net.op("Softmax", net.op("MatMul", "x", "w"), axis=-1), "w")], tmp_path)
    assert [kernel.ops for kernel in found] == ["MatMul", "Softmax", "MatMul"]


def test_equal_kernels_of_different_models_are_equal_values(tmp_path: Path) -> None:
    found = []
    for seed in (1, 2):
        net = Net(seed=seed)
        x = net.op("Softmax", "x", axis=1) if seed == 2 else "x"
        folder = tmp_path / str(seed)
        folder.mkdir()
        found.append(kernels(net, [net.op("Relu", net.conv(x))], folder)[-1])
    assert found[0] == found[1]
    assert found[0].signature == found[1].signature


def test_flops_of_a_convolution(tmp_path: Path) -> None:
    net = Net()
    (kernel,) = kernels(net, [net.conv("x")], tmp_path)
    assert kernel.flops == 2 * 4 * 4 * 9 * 6 * 6
    assert kernel.bytes_read == kernel.bytes_written == 4 * 6 * 6 * 4
    assert kernel.weight_bytes == 4 * 4 * 9 * 4


@pytest.mark.parametrize("copies", [1, 4])
def test_a_kernel_runs_alone_and_in_a_chain(tmp_path: Path, copies: int) -> None:
    net = Net()
    (kernel,) = kernels(net, [net.op("Relu", net.conv("x"))], tmp_path)
    assert chainable(kernel)
    path = tmp_path / "kernel.onnx"
    path.write_bytes(build_kernel(kernel, copies=copies).SerializeToString())
    (output,) = session(path).run(None, random_inputs(kernel.inputs, seed=0))
    assert output.shape == (1, 4, 6, 6)
    assert np.isfinite(output).all()
