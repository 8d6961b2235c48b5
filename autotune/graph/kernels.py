"""From groups of nodes to kernels: canonical names, so that equal kernels of different models are equal values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import numpy_helper

from autotune.core import AttributeValue, Constant, Kernel, KernelNode, TensorSpec
from autotune.graph.files import subgraphs
from autotune.graph.fusion import ANCHORS
from autotune.graph.operators import (
    DATA_MOVEMENT,
    ELEMENTWISE,
    NORMALISATION,
    POOLING,
    RECURRENT_GATES,
    attribute,
    flops_of,
)
from autotune.graph.values import used_names

MAX_INTEGERS = 256
MAX_FLOATS = 4
WEIGHTED = ANCHORS | {
    "BatchNormalization",
    "LayerNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    *RECURRENT_GATES,
}
ATTENTION = {"Attention", "MultiHeadAttention", "GroupQueryAttention"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphView:
    """What kernels are made from: specs, initializers, outputs and opset of a prepared model."""

    specs: Mapping[str, TensorSpec]
    initializers: Mapping[str, onnx.TensorProto]
    outputs: frozenset[str]
    consumers: Mapping[str, frozenset[int]]
    opset: int
    foreign: frozenset[str]


def make_kernel(members: Sequence[int], nodes: Sequence[onnx.NodeProto], view: GraphView) -> Kernel:
    """The kernel of a group of nodes (indices in topological order)."""
    group = [nodes[at] for at in members]
    names = _Names()
    kernel_nodes, flops = [], 0
    made = {name for node in group for name in node.output if name}
    leaving = [
        name
        for node in group
        for name in node.output
        if name and (name in view.outputs or view.consumers.get(name, frozenset()) - set(members))
    ]
    for name in leaving:
        names.give(name, "o")
    inputs: list[TensorSpec] = []
    weights: list[TensorSpec] = []
    constants: list[Constant] = []
    buildable = True
    for node in group:
        buildable &= not any(True for _ in subgraphs(node)) and node.domain not in view.foreign
        for name in used_names(node):
            if name in made or names.has(name):
                continue
            buildable &= _take_input(name, node, view, names, inputs, weights, constants)
        kernel_nodes.append(_node(node, names))
        flops += flops_of(node, view.specs)
    outputs = [replace(view.specs[name], name=names.of(name)) for name in leaving if name in view.specs]
    buildable &= len(outputs) == len(leaving) > 0 and all(spec.is_static for spec in (*inputs, *outputs))
    buildable &= all(spec.dtype != "string" for spec in (*inputs, *outputs))
    return Kernel(
        family=family_of(group, view.specs) if buildable else "other",
        nodes=tuple(kernel_nodes),
        inputs=tuple(inputs),
        weights=tuple(weights),
        constants=tuple(constants),
        outputs=tuple(outputs),
        opset=view.opset,
        flops=flops,
        buildable=buildable,
    )


class _Names:
    """Local names in the order of first use."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {"": ""}
        self._counts: dict[str, int] = {}

    def has(self, name: str) -> bool:
        return name in self._given

    def give(self, name: str, prefix: str) -> str:
        if name not in self._given:
            at = self._counts.get(prefix, 0)
            self._counts[prefix] = at + 1
            self._given[name] = f"{prefix}{at}"
        return self._given[name]

    def of(self, name: str) -> str:
        return self._given[name]


def _take_input(
    name: str,
    node: onnx.NodeProto,
    view: GraphView,
    names: _Names,
    inputs: list[TensorSpec],
    weights: list[TensorSpec],
    constants: list[Constant],
) -> bool:
    """Files an outside tensor under inputs, weights or constants; False where its type is unknown."""
    tensor = view.initializers.get(name)
    if tensor is not None:
        values = _small_values(tensor, node)
        spec = replace(view.specs[name], name=names.give(name, "w" if values is None else "c"))
        if values is None:
            weights.append(spec)
        else:
            constants.append(Constant(tensor=spec, values=values))
        return True
    local = names.give(name, "i")
    if name not in view.specs:
        return False
    inputs.append(replace(view.specs[name], name=local))
    return True


def _small_values(tensor: onnx.TensorProto, node: onnx.NodeProto) -> tuple[int, ...] | tuple[float, ...] | None:
    """The values of a constant that decides the cost (a shape, axes, a bound); None for weights."""
    count = int(np.prod(tensor.dims)) if tensor.dims else 1
    if (
        tensor.data_location == onnx.TensorProto.EXTERNAL
        or count > MAX_INTEGERS
        or tensor.data_type == onnx.TensorProto.STRING
    ):
        return None
    if node.op_type in WEIGHTED and tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        return None
    array = numpy_helper.to_array(tensor)
    if array.dtype.kind in "iub":
        return tuple(int(value) for value in array.ravel())
    if array.dtype.kind == "f" and count <= MAX_FLOATS and np.isfinite(array).all():
        return tuple(float(value) for value in array.ravel())
    return None


def _node(node: onnx.NodeProto, names: _Names) -> KernelNode:
    for name in node.output:
        names.give(name, "t")
    return KernelNode(
        op_type=node.op_type,
        domain=node.domain,
        inputs=tuple(names.of(name) for name in node.input),
        outputs=tuple(names.of(name) for name in node.output),
        attributes=tuple(sorted(_attributes(node))),
    )


def _attributes(node: onnx.NodeProto) -> list[tuple[str, AttributeValue]]:
    found: list[tuple[str, AttributeValue]] = []
    for item in node.attribute:
        value = onnx.helper.get_attribute_value(item)
        if isinstance(value, bytes):
            found.append((item.name, value.decode("utf-8", "replace")))
        elif isinstance(value, (int, float)):
            found.append((item.name, value))
        elif isinstance(value, (list, tuple)) or hasattr(value, "__len__"):
            found.append((item.name, _sequence(value)))
        else:
            found.append((item.name, item.name + ":" + type(value).__name__))
    return found


def _sequence(value: Sequence[object]) -> AttributeValue:
    if all(isinstance(item, int) for item in value):
        return tuple(int(item) for item in value)  # type: ignore[call-overload]
    if all(isinstance(item, (int, float)) for item in value):
        return tuple(float(item) for item in value)  # type: ignore[arg-type]
    return tuple(item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in value)


def family_of(group: Sequence[onnx.NodeProto], specs: Mapping[str, TensorSpec]) -> str:
    """The kernel family of a group: that of the operator that dominates it."""
    kinds = [node.op_type for node in group]
    for node in group:
        if node.op_type in ("Conv", "ConvTranspose", "FusedConv"):
            weight = specs.get(node.input[1])
            groups = attribute(node, "group", 1)
            alone = weight is not None and weight.shape is not None and len(weight.shape) > 1 and weight.shape[1] == 1
            return "depthwise" if isinstance(groups, int) and groups > 1 and alone else "convolution"
    if any(kind in ATTENTION for kind in kinds) or {"MatMul", "Softmax"} <= set(kinds):
        return "attention"
    if any(kind in ANCHORS for kind in kinds):
        return "matmul"
    if any(kind in RECURRENT_GATES for kind in kinds):
        return "recurrent"
    if any(kind in POOLING or kind.startswith("Reduce") for kind in kinds):
        return "pooling"
    if any(kind in NORMALISATION for kind in kinds):
        return "normalisation"
    if all(kind in DATA_MOVEMENT for kind in kinds):
        return "data_movement"
    return "elementwise" if all(kind in ELEMENTWISE for kind in kinds) else "other"
