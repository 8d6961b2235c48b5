"""The dimensions that decide a kernel's cost, read off its nodes and tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotune.core import AttributeValue, Kernel, KernelNode, TensorSpec

MAIN_OPS = (
    "Conv", "FusedConv", "ConvInteger", "QLinearConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul",
    "MatMulInteger", "QLinearMatMul", "Attention", "MultiHeadAttention", "LSTM", "GRU", "RNN", "MaxPool", "AveragePool",
    "GlobalAveragePool", "GlobalMaxPool", "Softmax", "LogSoftmax", "LayerNormalization", "BatchNormalization",
    "InstanceNormalization", "GroupNormalization", "RMSNormalization", "LRN", "ReduceMean", "ReduceSum", "ReduceMax",
    "ReduceMin", "ReduceL2", "ArgMax", "TopK", "Resize", "Upsample", "Concat", "Split", "Slice", "Gather", "Transpose",
    "DepthToSpace", "SpaceToDepth", "Pad", "Expand", "Tile", "Where", "Erf", "Gelu", "Exp", "Log", "Tanh", "Sigmoid",
    "HardSwish", "HardSigmoid", "Softplus", "Pow", "Sqrt", "Div", "Mul", "Add", "Sub", "Max", "Min", "Clip",
    "LeakyRelu", "PRelu", "Elu", "Relu", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity",
)  # fmt: skip
"""Operators in falling order of how much they decide a kernel's cost; the first one present is its main operator."""

_RANK = {name: rank for rank, name in enumerate(MAIN_OPS)}

ACTIVATIONS = ("none", "relu", "clip", "silu", "sigmoid", "tanh", "gelu", "hard", "add", "other")
"""What follows the main operator inside the kernel; the feature is the position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dims:
    """Dimensions of a kernel's main operator; 1 (strides, kernels) or 0 (absent) where they have no meaning.

    For a matrix product `c_in` is the inner dimension, `c_out` the columns, `h_out` the rows, `n` the batch.
    """

    n: int
    c_in: int
    h_in: int
    w_in: int
    c_out: int
    h_out: int
    w_out: int
    kernel_h: int = 1
    kernel_w: int = 1
    stride: int = 1
    groups: int = 1
    dilation: int = 1


def main_node(kernel: Kernel) -> KernelNode:
    """The node that decides the cost."""
    return min(kernel.nodes, key=lambda node: _RANK.get(node.op_type, len(MAIN_OPS)))


def main_code(node: KernelNode) -> int:
    """Position of the node's operator in `MAIN_OPS`, its length where it is not there."""
    return _RANK.get(node.op_type, len(MAIN_OPS))


def activation(kernel: Kernel, main: KernelNode) -> str:
    """The kind of what follows the main operator, one of `ACTIVATIONS`."""
    rest = {node.op_type for node in kernel.nodes if node is not main}
    rest |= {str(value) for name, value in main.attributes if name == "activation"}
    rest -= {"BatchNormalization", "Identity", "Reshape", "Flatten"}
    if not rest:
        return "none"
    for kind, needed in (
        ("gelu", "Erf"), ("gelu", "Gelu"), ("hard", "HardSwish"), ("hard", "HardSigmoid"), ("silu", "Swish"),
    ):  # fmt: skip
        if needed in rest:
            return kind
    if {"Sigmoid", "Mul"} <= rest:
        return "silu"
    for kind, needed in (
        ("sigmoid", "Sigmoid"), ("tanh", "Tanh"), ("clip", "Clip"), ("relu", "Relu"), ("relu", "LeakyRelu"),
        ("add", "Add"),
    ):  # fmt: skip
        if needed in rest:
            return kind
    return "other"


def dims(kernel: Kernel, main: KernelNode) -> Dims:
    """Dimensions of the main operator; tensors inside the kernel have no known shape, the kernel's ends stand in."""
    known = {tensor.name: tensor for tensor in (*kernel.inputs, *kernel.weights, *kernel.outputs)}
    known |= {constant.tensor.name: constant.tensor for constant in kernel.constants}
    operands = [known.get(name) for name in main.inputs]
    first = operands[0] if operands and operands[0] is not None else (kernel.inputs or kernel.outputs or (None,))[0]
    out = next((known[name] for name in main.outputs if name in known), (kernel.outputs or (None,))[0])
    x, y = _shape(first), _shape(out)
    attributes = dict(main.attributes)
    if "Conv" in main.op_type and len(operands) > 1:
        return _convolution(main, x, _shape(operands[1]), y, attributes)
    if "MatMul" in main.op_type or "Gemm" in main.op_type:
        return _product(x, y, attributes)
    window = _ints(attributes.get("kernel_shape", (1, 1)))
    return Dims(
        n=_at(x, 0), c_in=_at(x, 1), h_in=_at(x, 2), w_in=_flat(x, 3), c_out=_at(y, 1), h_out=_at(y, 2),
        w_out=_flat(y, 3), kernel_h=_at(window, 0), kernel_w=_at(window, -1), stride=_stride(attributes),
    )  # fmt: skip


def _convolution(
    main: KernelNode,
    x: tuple[int, ...],
    w: tuple[int, ...],
    y: tuple[int, ...],
    attributes: dict[str, AttributeValue],
) -> Dims:
    groups = _int(attributes.get("group", 1))
    c_out = _at(w, 1) * groups if main.op_type == "ConvTranspose" else _at(w, 0)
    return Dims(
        n=_at(x, 0), c_in=_at(x, 1), h_in=_at(x, 2), w_in=_flat(x, 3), c_out=c_out, h_out=_at(y, 2), w_out=_flat(y, 3),
        kernel_h=_at(w, 2), kernel_w=_flat(w, 3), stride=_stride(attributes), groups=groups,
        dilation=max(_ints(attributes.get("dilations", (1,))), default=1),
    )  # fmt: skip


def _product(x: tuple[int, ...], y: tuple[int, ...], attributes: dict[str, AttributeValue]) -> Dims:
    rows, columns = _at(y, -2) if len(y) > 1 else 1, _at(y, -1)
    inner = _at(x, 0 if _int(attributes.get("transA", 0)) else -1)
    return Dims(
        n=math.prod(y[:-2]), c_in=inner, h_in=rows, w_in=1, c_out=columns, h_out=rows, w_out=1,
    )  # fmt: skip


def _shape(tensor: TensorSpec | None) -> tuple[int, ...]:
    return () if tensor is None or tensor.shape is None else tensor.shape


def _at(shape: tuple[int, ...], index: int) -> int:
    return max(shape[index], 0) if -len(shape) <= index < len(shape) else 1


def _flat(shape: tuple[int, ...], start: int) -> int:
    return math.prod(max(dim, 0) for dim in shape[start:])


def _int(value: AttributeValue) -> int:
    return int(value) if isinstance(value, (int, float)) else 1


def _ints(value: AttributeValue) -> tuple[int, ...]:
    return tuple(int(item) for item in value) if isinstance(value, tuple) else (1,)


def _stride(attributes: dict[str, AttributeValue]) -> int:
    return max(_ints(attributes.get("strides", (1,))), default=1)
