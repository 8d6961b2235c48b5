"""What the networks are built with: layers with seeded weights (He et al., Delving Deep into Rectifiers, 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9


class Builder:
    """Collects nodes and weights of one network.

    Args:
        name: of the graph.
        seed: of the weights.
    """

    def __init__(self, name: str, *, seed: int = 0) -> None:
        self.name = name
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def fresh(self, prefix: str) -> str:
        """A new name."""
        self._count += 1
        return f"{prefix}_{self._count}"

    def constant(
        self, array: np.ndarray[Any, Any] | np.generic | Sequence[float] | Sequence[int], *, dtype: str = ""
    ) -> str:
        """An initializer."""
        value = np.asarray(array) if not dtype else np.asarray(array, dtype=dtype)
        name = self.fresh("const")
        self._weights[name] = numpy_helper.from_array(value, name)
        return name

    def normal(self, shape: Sequence[int], std: float) -> str:
        """Normally distributed weights."""
        return self.constant(self._rng.standard_normal(tuple(shape), dtype=np.float32) * np.float32(std))

    def op(self, kind: str, inputs: Sequence[str], *, outputs: int = 1, name: str = "", **attributes: Any) -> str:
        """Adds a node; gives its first output's name (others have the suffixes `_1`, …)."""
        first = name or self.fresh(kind.lower())
        names = [first, *(f"{first}_{at}" for at in range(1, outputs))]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=f"/{first}", **attributes))
        return first

    def conv(
        self,
        x: str,
        inner: int,
        outer: int,
        kernel: int | tuple[int, int] = 3,
        *,
        stride: int = 1,
        pad: int | tuple[int, int] | None = None,
        groups: int = 1,
        bias: bool = True,
        bias_std: float = 0.0,
        gain: float = 2.0,
    ) -> str:
        """A convolution with He weights of variance gain / fan-in; `pad` None keeps the size at stride 1."""
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        top, left = (high // 2, wide // 2) if pad is None else ((pad, pad) if isinstance(pad, int) else pad)
        fan_in = inner // groups * high * wide
        weight = self.normal((outer, inner // groups, high, wide), math.sqrt(gain / fan_in))
        inputs = [x, weight] + ([self.normal((outer,), bias_std)] if bias else [])
        return self.op(
            "Conv",
            inputs,
            kernel_shape=[high, wide],
            strides=[stride, stride],
            pads=[top, left, top, left],
            group=groups,
        )

    def batch_norm(self, x: str, channels: int, *, scale: float = 1.0) -> str:
        """Batch normalisation with statistics of a unit-variance input."""
        gamma = self.constant(np.full(channels, scale, np.float32))
        beta, mean = (self.constant(np.zeros(channels, np.float32)) for _ in range(2))
        variance = self.constant(np.ones(channels, np.float32))
        return self.op("BatchNormalization", [x, gamma, beta, mean, variance], epsilon=1e-5)

    def relu(self, x: str) -> str:
        """Relu."""
        return self.op("Relu", [x])

    def silu(self, x: str) -> str:
        """x·sigmoid(x), as exporters write it."""
        return self.op("Mul", [x, self.op("Sigmoid", [x])])

    def linear(self, x: str, inner: int, outer: int, *, gain: float = 1.0) -> str:
        """A fully connected layer on [N, inner]."""
        weight = self.normal((outer, inner), math.sqrt(gain / inner))
        return self.op("Gemm", [x, weight, self.constant(np.zeros(outer, np.float32))], transB=1)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Reshape; 0 keeps a dimension."""
        return self.op("Reshape", [x, self.constant(list(shape), dtype="int64")])

    def model(
        self, inputs: dict[str, tuple[int, Sequence[int | str]]], outputs: dict[str, tuple[int, Sequence[int | str]]]
    ) -> onnx.ModelProto:
        """The finished model; inputs and outputs as name -> (ONNX type, shape)."""
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in outputs.items()],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="autotune")
        made.graph.initializer.extend(self._weights.values())  # last: `make_model` copies the graph
        return made

    def vision(self, size: int, output: str, shape: Sequence[int | str], *, name: str = "output") -> onnx.ModelProto:
        """The finished model of a network that takes `images` [batch, 3, size, size]."""
        self.op("Identity", [output], name=name)
        return self.model(
            {"images": (TensorProto.FLOAT, ("batch", 3, size, size))}, {name: (TensorProto.FLOAT, tuple(shape))}
        )
