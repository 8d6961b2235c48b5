"""The dimensions that decide a kernel's cost, read off its nodes and tensors."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

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

MOVERS = frozenset(
    ("Resize", "Upsample", "Concat", "Split", "Slice", "Gather", "Transpose", "DepthToSpace", "SpaceToDepth", "Pad",
     "Expand", "Tile")
)  # fmt: skip
"""Operators that put elements elsewhere: the longer the runs that stay together, the nearer to a plain copy."""

NORMALISERS = frozenset(("Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization"))
"""Operators that pass over one row after the other."""

_NO_TENSORS = (TensorSpec(name="", dtype="float32", shape=None),)


class Dims(NamedTuple):
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


class MainOperator(NamedTuple):
    """What decides a kernel's cost.

    Args:
        code: position of the operator in `MAIN_OPS`, its length where it is not there.
        activation: position in `ACTIVATIONS` of what follows it inside the kernel.
        run: elements that stay side by side where they are moved; 0 where nothing is moved.
        rows: rows that are normalised one by one; 0 where none are.
        dims: its dimensions.
    """

    code: int
    activation: int
    run: int
    rows: int
    dims: Dims


def main_operator(kernel: Kernel) -> MainOperator:
    """The operator that decides the cost; what depends on names and attributes alone is worked out once for each."""
    ops = tuple([node.op_type for node in kernel.nodes])
    position, code, activation = _roles(ops)
    main = kernel.nodes[position]
    settings = _settings(main.attributes)
    if settings.fused:
        activation = _activation({*ops[:position], *ops[position + 1 :], settings.fused})
    run = _run(kernel, main, settings) if main.op_type in MOVERS else 0
    rows = _rows(kernel, main, settings) if main.op_type in NORMALISERS else 0
    return MainOperator(code, activation, run, rows, _dims(kernel, main, settings))


class _Settings(NamedTuple):
    """What a node's attributes say, ONNX's defaults where they say nothing."""

    fused: str
    groups: int
    stride: int
    dilation: int
    window_h: int
    window_w: int
    transposed: bool
    order: tuple[int, ...]
    axis: int | None


@lru_cache(maxsize=4096)
def _settings(attributes: tuple[tuple[str, AttributeValue], ...]) -> _Settings:
    found = dict(attributes)
    window = _ints(found.get("kernel_shape"))
    return _Settings(
        fused=str(found.get("activation", "")),
        groups=_ints(found.get("group"))[0],
        stride=max(_ints(found.get("strides"))),
        dilation=max(_ints(found.get("dilations"))),
        window_h=window[0],
        window_w=window[-1],
        transposed=bool(found.get("transA")),
        order=_ints(found["perm"]) if "perm" in found else (),
        axis=_ints(found["axis"])[0] if "axis" in found else None,
    )


def _ints(value: AttributeValue | None) -> tuple[int, ...]:
    if isinstance(value, (int, float)):
        return (int(value),)
    return tuple(map(int, value)) if isinstance(value, tuple) and value else (1,)


@lru_cache(maxsize=4096)
def _roles(ops: tuple[str, ...]) -> tuple[int, int, int]:
    """Position of the main operator, its code, and what follows it."""
    codes = [_RANK.get(op, len(MAIN_OPS)) for op in ops]
    position = codes.index(min(codes))
    return position, codes[position], _activation({*ops[:position], *ops[position + 1 :]})


def _activation(rest: set[str]) -> int:
    """What the operators beside the main one make: position in `ACTIVATIONS`."""
    rest = rest - {"BatchNormalization", "Identity", "Reshape", "Flatten"}
    if not rest:
        return ACTIVATIONS.index("none")
    for kind, needed in _KINDS:
        if needed <= rest:
            return ACTIVATIONS.index(kind)
    return ACTIVATIONS.index("other")


_KINDS = tuple(
    (kind, frozenset(needed.split("+")))
    for kind, needed in (
        ("gelu", "Erf"), ("gelu", "Gelu"), ("hard", "HardSwish"), ("hard", "HardSigmoid"), ("silu", "Swish"),
        ("silu", "Sigmoid+Mul"), ("sigmoid", "Sigmoid"), ("tanh", "Tanh"), ("clip", "Clip"), ("relu", "Relu"),
        ("relu", "LeakyRelu"), ("add", "Add"),
    )
)  # fmt: skip
"""Kind of activation and the operators that make it, the first that fits."""


def _dims(kernel: Kernel, main: KernelNode, settings: _Settings) -> Dims:
    """Dimensions of the main operator; tensors inside the kernel have no known shape, the kernel's ends stand in."""
    x = _shape_of(main.inputs[0], kernel) if main.inputs else None
    if x is None:
        x = (kernel.inputs or kernel.outputs or _NO_TENSORS)[0].shape or ()
    y = None
    for name in main.outputs:
        y = y or _shape_of(name, kernel)
    if y is None:
        y = (kernel.outputs or _NO_TENSORS)[0].shape or ()
    if "MatMul" in main.op_type or "Gemm" in main.op_type:
        rows, columns = _at(y, -2) if len(y) > 1 else 1, _at(y, -1)
        return Dims(math.prod(y[:-2]), _at(x, 0 if settings.transposed else -1), rows, 1, columns, rows, 1)
    n, c_in, h_in, w_in = _image(x)
    _, c_out, h_out, w_out = _image(y)
    if "Conv" not in main.op_type or len(main.inputs) < 2:
        sides = settings.window_h, settings.window_w
        return Dims(n, c_in, h_in, w_in, c_out, h_out, w_out, *sides, settings.stride)
    filters, transposed, kernel_h, kernel_w = _image(_shape_of(main.inputs[1], kernel) or ())
    c_out = transposed * settings.groups if main.op_type == "ConvTranspose" else filters
    sides, steps = (kernel_h, kernel_w), (settings.stride, settings.groups, settings.dilation)
    return Dims(n, c_in, h_in, w_in, c_out, h_out, w_out, *sides, *steps)


def _run(kernel: Kernel, main: KernelNode, settings: _Settings) -> int:
    """Elements that are side by side before and after the main operator, at most: behind the last axis that changes."""
    x = (_shape_of(main.inputs[0], kernel) if main.inputs else None) or ()
    y = next((shape for name in main.outputs if (shape := _shape_of(name, kernel)) is not None), ())
    if main.op_type == "Transpose":
        order = settings.order or tuple(reversed(range(len(x))))
        moved = [at for at, own in enumerate(order) if own != at]
        return _product(x[moved[-1] + 1 :] if moved else x)
    if main.op_type == "Gather":
        return _product(x[(settings.axis or 0) % max(len(x), 1) + 1 :])
    if len(x) != len(y):
        return min(_product(x), _product(y))
    unlike = [at for at, (before, after) in enumerate(zip(x, y, strict=True)) if before != after]
    first = unlike[-1] if unlike else 0
    return min(_product(x[first:]), _product(y[first:]))


def _rows(kernel: Kernel, main: KernelNode, settings: _Settings) -> int:
    """Elements over those of a row: along an axis, or from it on."""
    x = (_shape_of(main.inputs[0], kernel) if main.inputs else None) or ()
    if not x:
        return 0
    axis = (-1 if settings.axis is None else settings.axis) % len(x)
    inner = x[axis + 1 :] if "Softmax" in main.op_type else ()
    return _product(x[:axis]) * _product(inner)


def _product(dims: tuple[int, ...]) -> int:
    """Elements of a part of a shape; 0 where a dimension is not known."""
    return 0 if -1 in dims else math.prod(dims)


def _shape_of(name: str, kernel: Kernel) -> tuple[int, ...] | None:
    """Shape of a tensor at the kernel's ends; None of one inside."""
    for tensors in (kernel.inputs, kernel.weights, kernel.outputs):
        for tensor in tensors:
            if tensor.name == name:
                return tensor.shape
    return next((one.tensor.shape for one in kernel.constants if one.tensor.name == name), None)


def _image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The first three dimensions and the product of the others; 1 where there is none, 0 where it is not known."""
    if -1 in shape:
        shape = tuple(max(dim, 0) for dim in shape)
    if len(shape) > 4:
        return (*shape[:3], math.prod(shape[3:]))
    return shape + (1,) * (4 - len(shape))


def _at(shape: tuple[int, ...], index: int) -> int:
    return max(shape[index], 0) if -len(shape) <= index < len(shape) else 1
