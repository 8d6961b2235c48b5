"""FLOPs and bytes of operators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from autotune.core import TensorSpec

ELEMENTWISE = {
    "Abs": 1, "Add": 1, "And": 1, "BitwiseAnd": 1, "BitwiseOr": 1, "Cast": 1, "Ceil": 1, "Clip": 2, "Cos": 8, "Div": 4,
    "Elu": 6, "Equal": 1, "Erf": 8, "Exp": 6, "Floor": 1, "Gelu": 12, "Greater": 1, "GreaterOrEqual": 1,
    "HardSigmoid": 3, "HardSwish": 4, "IsNaN": 1, "LeakyRelu": 2, "Less": 1, "LessOrEqual": 1, "Log": 6, "Max": 1,
    "Min": 1, "Mish": 16, "Mod": 4, "Mul": 1, "Neg": 1, "Not": 1, "Or": 1, "PRelu": 2, "Pow": 8, "QuickGelu": 8,
    "Reciprocal": 4, "Relu": 1, "Round": 1, "Selu": 6, "Sigmoid": 6, "Sign": 1, "Silu": 8, "Sin": 8, "Softplus": 10,
    "Softsign": 4, "Sqrt": 4, "Sub": 1, "Sum": 1, "Swish": 8, "Tanh": 8, "ThresholdedRelu": 1, "Where": 1, "Xor": 1,
}  # fmt: skip
"""Operations per output element; the transcendental ones are rough counts of a vectorised polynomial."""

POOLING = {"MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}
NORMALISATION = {
    "BatchNormalization": 2, "InstanceNormalization": 7, "GroupNormalization": 7, "LayerNormalization": 7,
    "SimplifiedLayerNormalization": 5, "RMSNormalization": 5, "SkipLayerNormalization": 8, "LpNormalization": 4,
    "LRN": 8, "MeanVarianceNormalization": 6, "Softmax": 9, "LogSoftmax": 10, "Hardmax": 2,
}  # fmt: skip
"""Operations per output element."""
REDUCTIONS = {
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSumExp", "ReduceLogSum", "ArgMax", "ArgMin", "CumSum", "TopK",
}  # fmt: skip
RECURRENT_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DATA_MOVEMENT = {
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad", "Reshape",
    "Resize", "ScatterElements", "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze", "Upsample", "ConstantOfShape", "Range", "NonZero", "Compress", "OneHot", "Trilu",
    "Einsum",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One ONNX node of the prepared model.

    Args:
        name: unique within the model.
        op_type: ONNX's operator name.
        flops: floating-point operations, 2 per multiply-accumulate; 0 where shapes are unknown.
        bytes_read: bytes of activations that come in.
        bytes_written: bytes that go out.
        weight_bytes: bytes of constant inputs.
    """

    name: str
    op_type: str
    flops: int
    bytes_read: int
    bytes_written: int
    weight_bytes: int


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """Value of an attribute, or a default."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def flops_of(node: onnx.NodeProto, specs: Mapping[str, TensorSpec]) -> int:
    """Floating-point operations of a node, 2 per multiply-accumulate; 0 where a shape is unknown."""
    outputs = [specs[name] for name in node.output if name in specs]
    inputs = [specs.get(name) for name in node.input]
    if not outputs or not outputs[0].is_static:
        return 0
    out = outputs[0].elements
    kind = node.op_type
    if kind in ("Conv", "ConvTranspose", "FusedConv"):
        return _convolution(node, inputs, out)
    if kind in ("MatMul", "Gemm", "FusedMatMul", "MatMulInteger", "FusedGemm"):
        return _matmul(node, inputs, out)
    if kind in RECURRENT_GATES:
        return _recurrent(inputs)
    if kind in POOLING:
        return _pooling(node, inputs, out)
    if kind in REDUCTIONS:
        return inputs[0].elements if inputs and inputs[0] else 0
    return out * (ELEMENTWISE.get(kind) or NORMALISATION.get(kind) or 0)


def _convolution(node: onnx.NodeProto, inputs: list[TensorSpec | None], out: int) -> int:
    weight = inputs[1] if len(inputs) > 1 else None
    if weight is None or not weight.shape or len(weight.shape) < 3:
        return 0
    bias = out if len(inputs) > 2 and inputs[2] is not None else 0
    if node.op_type == "ConvTranspose":
        data = inputs[0]
        return 2 * data.elements * math.prod(weight.shape[1:]) + bias if data else 0
    return 2 * out * math.prod(weight.shape[1:]) + bias


def _matmul(node: onnx.NodeProto, inputs: list[TensorSpec | None], out: int) -> int:
    left = inputs[0]
    if left is None or not left.shape:
        return 0
    inner = left.shape[0] if node.op_type in ("Gemm", "FusedGemm") and attribute(node, "transA", 0) else left.shape[-1]
    bias = out if len(inputs) > 2 and inputs[2] is not None else 0
    return 2 * out * max(inner, 0) + bias


def _recurrent(inputs: list[TensorSpec | None]) -> int:
    data, weight, again = (*inputs, None, None, None)[:3]
    if data is None or weight is None or again is None or not data.is_static or not data.shape:
        return 0
    steps_and_batch = math.prod(data.shape[:2])
    return 2 * steps_and_batch * (weight.elements + again.elements)


def _pooling(node: onnx.NodeProto, inputs: list[TensorSpec | None], out: int) -> int:
    window = attribute(node, "kernel_shape")
    if isinstance(window, (list, tuple)):
        return out * math.prod(int(size) for size in window)
    return inputs[0].elements if inputs and inputs[0] else 0


def operator_of(node: onnx.NodeProto, specs: Mapping[str, TensorSpec], constants: set[str]) -> Operator:
    """FLOPs and bytes of one node."""
    known = [specs[name] for name in node.input if name in specs]
    return Operator(
        name=node.name,
        op_type=node.op_type,
        flops=flops_of(node, specs),
        bytes_read=sum(spec.bytes for spec in known if spec.name not in constants),
        bytes_written=sum(specs[name].bytes for name in node.output if name in specs),
        weight_bytes=sum(spec.bytes for spec in known if spec.name in constants),
    )
