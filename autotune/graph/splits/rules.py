"""Which rule divides which operator: the one registry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autotune.errors import SplitError
from autotune.graph.operators import ELEMENTWISE
from autotune.graph.splits import moves, products, windows
from autotune.graph.splits.region import Op, Part, Region, Rule

RULES: Mapping[str, Rule] = MappingProxyType(
    dict.fromkeys((*ELEMENTWISE, "Identity"), products.elementwise)
    | dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), windows.pooling)
    | dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), windows.global_pooling)
    | dict.fromkeys(("Softmax", "LogSoftmax"), products.softmax)
    | dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"), products.reduction)
    | dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), moves.reshape)
    | {
        "Conv": windows.convolution,
        "MatMul": products.matmul,
        "Gemm": products.gemm,
        "BatchNormalization": products.batch_normalisation,
        "InstanceNormalization": products.instance_normalisation,
        "LayerNormalization": products.layer_normalisation,
        "Transpose": moves.transpose,
        "Flatten": moves.flatten,
        "Concat": moves.concat,
        "Split": moves.split,
    }
)
"""By ONNX's operator name; an operator that is not here is never divided."""


def part_of(op: Op, region: Region) -> Part:
    """What a range of an operator's output needs.

    Raises:
        SplitError: no rule divides this operator, or not into that range.
    """
    rule = RULES.get(op.node.op_type) if op.node.domain in ("", "ai.onnx") else None
    if rule is None:
        raise op.refusal(f"no rule for it; known: {', '.join(RULES)}")
    if len([name for name in op.node.output if name]) != 1 and op.node.op_type != "Split":
        raise op.refusal("it has several outputs")
    part = rule(op, region)
    for need, shape in zip(part.needs, op.shapes, strict=True):
        if need is not None and (shape is None or need.stop > shape[need.axis]):
            raise SplitError(f"{op.node.name!r} would need {need} of an input of shape {shape}")
    return part
