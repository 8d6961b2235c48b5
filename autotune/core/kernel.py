"""A kernel: the operators that a processor fuses and runs as one; the unit that is profiled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from autotune.core.codec import encode
from autotune.core.tensor import TensorSpec, total_bytes

AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

FAMILIES = (
    "convolution", "depthwise", "matmul", "attention", "normalisation", "pooling", "elementwise", "data_movement",
    "recurrent", "other",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelNode:
    """One ONNX node of a kernel, with tensor names that are local to the kernel.

    Args:
        op_type: ONNX's operator name.
        domain: ONNX's operator domain, empty for the standard one.
        inputs: local tensor names; empty where an optional input is absent.
        outputs: local tensor names; empty where an optional output is absent.
        attributes: (name, value), sorted by name.
    """

    op_type: str
    domain: str = ""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, AttributeValue], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A small constant whose values matter for the cost (a shape, axes, a pad width).

    Args:
        tensor: name, type and shape.
        values: the elements in C order.
    """

    tensor: TensorSpec
    values: tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One operator, or a group that a processor fuses, independent of the model it came from.

    Tensor names are canonical (`i0` inputs, `w0` weights, `c0` constants, `t0` between nodes, `o0` outputs), so that
    equal kernels of different models are equal values.

    Args:
        family: one of `FAMILIES`.
        nodes: the ONNX nodes in topological order.
        inputs: activations that come from outside.
        weights: constant tensors whose values do not matter for the cost.
        constants: constant tensors whose values do.
        outputs: tensors that leave the kernel.
        opset: version of the standard operator set.
        flops: floating-point operations, 2 per multiply-accumulate.
        buildable: whether the kernel can be built and run alone (static shapes, no sub-graphs).
    """

    family: str
    nodes: tuple[KernelNode, ...]
    inputs: tuple[TensorSpec, ...]
    weights: tuple[TensorSpec, ...] = ()
    constants: tuple[Constant, ...] = ()
    outputs: tuple[TensorSpec, ...]
    opset: int
    flops: int
    buildable: bool = True

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown kernel family {self.family!r}; known: {', '.join(FAMILIES)}")

    @property
    def signature(self) -> str:
        """32 hexadecimal digits that name this kernel, equal for equal kernels."""
        text = json.dumps(encode(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def ops(self) -> str:
        """The operators in order, for people: `Conv+Sigmoid+Mul`."""
        return "+".join(node.op_type for node in self.nodes)

    @property
    def bytes_read(self) -> int:
        """Bytes of activations that come in."""
        return total_bytes(self.inputs)

    @property
    def bytes_written(self) -> int:
        """Bytes of activations that go out."""
        return total_bytes(self.outputs)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights."""
        return total_bytes(self.weights)


class Signatures:
    """Signatures of kernel objects, each computed once; kept alive, so that an identity can't come to mean another."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Kernel, str]] = {}

    def of(self, kernel: Kernel) -> str:
        """`kernel.signature`."""
        held = self._known.get(id(kernel))
        if held is None:
            held = self._known[id(kernel)] = (kernel, kernel.signature)
        return held[1]

    def know(self, kernel: Kernel, signature: str) -> None:
        """Takes in a signature that was stored with the kernel."""
        self._known[id(kernel)] = (kernel, signature)
