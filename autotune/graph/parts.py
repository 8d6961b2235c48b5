"""Parts of an output that a final Concat joins: boxes beside scores would hide the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from autotune.core import TensorSpec
from autotune.graph.operators import attribute


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPart:
    """A range of an output along one axis.

    Args:
        name: `output0[0:4]`, or the output's name where it is its own single part.
        output: the output.
        axis: the axis it is cut along; -1: the whole output.
        start: first index.
        stop: one past the last.
    """

    name: str
    output: str
    axis: int = -1
    start: int = 0
    stop: int = 0


def output_parts(
    outputs: Sequence[TensorSpec], nodes: Sequence[onnx.NodeProto], specs: Mapping[str, TensorSpec]
) -> tuple[OutputPart, ...]:
    """The parts of all outputs, in order."""
    made_by = {name: node for node in nodes for name in node.output}
    found: list[OutputPart] = []
    for output in outputs:
        node = made_by.get(output.name)
        while node is not None and node.op_type == "Identity":
            node = made_by.get(node.input[0])
        found += _concat_parts(output, node, specs) or [OutputPart(name=output.name, output=output.name)]
    return tuple(found)


def _concat_parts(output: TensorSpec, node: onnx.NodeProto | None, specs: Mapping[str, TensorSpec]) -> list[OutputPart]:
    if node is None or node.op_type != "Concat" or len(node.input) < 2 or not output.shape:
        return []
    axis = attribute(node, "axis", 0)
    axis = int(axis) % len(output.shape) if isinstance(axis, int) else 0
    sizes = []
    for name in node.input:
        spec = specs.get(name)
        if spec is None or spec.shape is None or len(spec.shape) != len(output.shape) or spec.shape[axis] < 0:
            return []
        sizes.append(spec.shape[axis])
    parts, start = [], 0
    for size in sizes:
        stop = start + size
        parts.append(
            OutputPart(name=f"{output.name}[{start}:{stop}]", output=output.name, axis=axis, start=start, stop=stop)
        )
        start = stop
    return parts
