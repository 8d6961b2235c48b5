"""A model's nodes as kernels: the way of every graph, whether it was loaded from a file or drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from autotune.core import Kernel, TensorSpec
from autotune.graph.fusion import group_nodes
from autotune.graph.kernels import GraphView, make_kernel
from autotune.graph.prepare import foreign_domains
from autotune.graph.values import all_specs, consumers_of, opset_of


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Grouped:
    """Kernels in execution order, and the nodes of each.

    Args:
        groups: indices of nodes by kernel.
        kernels: the kernel of each group.
    """

    groups: tuple[tuple[int, ...], ...]
    kernels: tuple[Kernel, ...]


def grouped(model: onnx.ModelProto, specs: Mapping[str, TensorSpec] | None = None) -> Grouped:
    """The kernels of a model as it stands: nothing is folded or run, weights need no values.

    Args:
        model: with inferred shapes; external initializers count as weights.
        specs: types and shapes; None takes those that the model states.
    """
    known = all_specs(model.graph) if specs is None else specs
    nodes = list(model.graph.node)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    groups = group_nodes(nodes, constants=set(initializers), outputs=outputs)
    view = GraphView(
        specs=known,
        initializers=initializers,
        outputs=frozenset(outputs),
        consumers=consumers_of(nodes),
        opset=opset_of(model),
        foreign=foreign_domains(model),
    )
    return Grouped(
        groups=tuple(tuple(group) for group in groups),
        kernels=tuple(make_kernel(group, nodes, view) for group in groups),
    )
