"""Types and shapes of a model's tensors."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from autotune.core import TensorSpec
from autotune.graph.dims import model_inputs
from autotune.graph.files import subgraphs

_T = onnx.TensorProto
DTYPES = {
    _T.FLOAT: "float32", _T.DOUBLE: "float64", _T.FLOAT16: "float16", _T.BFLOAT16: "bfloat16", _T.BOOL: "bool",
    _T.INT8: "int8", _T.UINT8: "uint8", _T.INT16: "int16", _T.UINT16: "uint16", _T.INT32: "int32", _T.UINT32: "uint32",
    _T.INT64: "int64", _T.UINT64: "uint64", _T.INT4: "int4", _T.UINT4: "uint4", _T.STRING: "string",
    _T.COMPLEX64: "complex64", _T.COMPLEX128: "complex128", _T.FLOAT8E4M3FN: "float8_e4m3fn",
    _T.FLOAT8E4M3FNUZ: "float8_e4m3fnuz", _T.FLOAT8E5M2: "float8_e5m2", _T.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
}  # fmt: skip


def spec_of(value: onnx.ValueInfoProto) -> TensorSpec | None:
    """Name, type and shape of a tensor value; None for sequences, optionals and unknown types."""
    if not value.type.HasField("tensor_type") or value.type.tensor_type.elem_type not in DTYPES:
        return None
    kind = value.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else -1 for d in kind.shape.dim)
    return TensorSpec(name=value.name, dtype=DTYPES[kind.elem_type], shape=shape)


def spec_of_tensor(tensor: onnx.TensorProto) -> TensorSpec:
    """Name, type and shape of an initializer."""
    return TensorSpec(name=tensor.name, dtype=DTYPES.get(tensor.data_type, "uint8"), shape=tuple(tensor.dims))


def all_specs(graph: onnx.GraphProto) -> dict[str, TensorSpec]:
    """Every tensor of the graph whose type is known, initializers included."""
    values: Iterable[onnx.ValueInfoProto] = (*graph.value_info, *graph.input, *graph.output)
    found = {value.name: spec for value in values if (spec := spec_of(value)) is not None}
    found |= {tensor.name: spec_of_tensor(tensor) for tensor in graph.initializer}
    return found


def required_specs(values: Iterable[onnx.ValueInfoProto], specs: dict[str, TensorSpec]) -> tuple[TensorSpec, ...]:
    """Specs of a model's inputs or outputs; values that are no tensors are left out."""
    return tuple(specs[value.name] for value in values if value.name in specs)


def input_specs(graph: onnx.GraphProto, specs: dict[str, TensorSpec]) -> tuple[TensorSpec, ...]:
    """The model's inputs."""
    return required_specs(model_inputs(graph), specs)


def used_names(node: onnx.NodeProto) -> tuple[str, ...]:
    """Tensors that a node needs: its inputs and what its bodies capture from outside."""
    names = [name for name in node.input if name]
    for body in subgraphs(node):
        names += captured(body)
    return tuple(dict.fromkeys(names))


def captured(body: onnx.GraphProto) -> list[str]:
    """Names that a sub-graph takes from the graphs around it."""
    own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    found: list[str] = []
    for node in body.node:
        found += [name for name in used_names(node) if name not in own]
        own.update(node.output)
    found += [value.name for value in body.output if value.name not in own]
    return found


def consumers_of(nodes: Iterable[onnx.NodeProto]) -> dict[str, frozenset[int]]:
    """Positions of the nodes that need a tensor, by its name."""
    users: dict[str, set[int]] = {}
    for at, node in enumerate(nodes):
        for name in used_names(node):
            users.setdefault(name, set()).add(at)
    return {name: frozenset(found) for name, found in users.items()}


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operator set."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
