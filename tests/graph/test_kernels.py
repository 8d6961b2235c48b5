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
