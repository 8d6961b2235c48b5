"""A chain of operators that stays divided from its first to its last: what each part of it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx
from onnx import numpy_helper

from autotune.core import TensorSpec
from autotune.errors import SplitError, UnknownNameError
from autotune.graph.graph import Graph
from autotune.graph.splits.region import Array, Op, Part, Region, Shape
from autotune.graph.splits.rules import part_of
from autotune.graph.values import used_names

Work = tuple[tuple[int, Part], ...]
"""(node, what its part is), in the order they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one part of a chain computes.

    Args:
        regions: ranges of the tensors inside the chain, by name; the result's is what was asked for.
        work: its operators.
    """

    regions: Mapping[str, Region]
    work: Work


@dataclass(frozen=True, eq=False, kw_only=True)
class Chain:
    """Operators with a single result, which leaves the chain at its end.

    Args:
        graph: where they stand.
        members: positions of their nodes, in execution order.
        result: the tensor that they give.
    """

    graph: Graph
    members: tuple[int, ...]
    result: str

    @property
    def shape(self) -> Shape:
        """Shape of the result."""
        return static_shape(self.graph.specs, self.result)

    @cached_property
    def inner(self) -> frozenset[str]:
        """Tensors that the chain makes."""
        nodes = self.graph.model.graph.node
        return frozenset(name for at in self.members for name in nodes[at].output if name)

    @cached_property
    def ops(self) -> Mapping[int, Op]:
        """The operators by position."""
        nodes = self.graph.model.graph.node
        return {at: _op(self.graph, nodes[at]) for at in self.members}

    def share(self, region: Region) -> Share:
        """What the operators must compute for a range of the result, from last to first.

        A tensor that several operators of the chain need is computed once, over the smallest range that holds all
        they need; so a halo is computed by both neighbours instead of being exchanged.

        Raises:
            SplitError: an operator cannot be divided so, or the parts would have to meet inside the chain.
        """
        regions = {self.result: region}
        work: list[tuple[int, Part]] = []
        for at in reversed(self.members):
            op = self.ops[at]
            hull = _hull(op.node, regions)
            if hull is None:
                raise SplitError(f"{op.node.name!r} is not needed as a single range for {self.result!r}")
            regions |= dict.fromkeys((name for name in op.node.output if name), hull)
            part = part_of(op, hull)
            work.append((at, part))
            for name, need in zip(op.node.input, part.needs, strict=True):
                if name not in self.inner:
                    continue
                known = regions.get(name, need)
                both = known.hull(need) if known is not None and need is not None else None
                if both is None:
                    raise SplitError(f"the parts must meet at {name!r}, which {op.node.name!r} needs whole")
                regions[name] = both
        return Share(regions=regions, work=tuple(reversed(work)))

    def legal(self, axis: int, position: int) -> bool:
        """Whether the result can be divided before an index of an axis."""
        size = self.shape[axis]
        if not 0 < position < size:
            return False
        try:
            self.share(Region(axis=axis, start=0, stop=position))
            self.share(Region(axis=axis, start=position, stop=size))
        except SplitError:
            return False
        return True

    def nearest(self, axis: int, position: float, *, multiple: int = 1) -> int:
        """The legal position that is nearest to a wanted one.

        Args:
            axis: of the result.
            position: any.
            multiple: positions to consider: multiples of this, as vector units like them.

        Raises:
            SplitError: there is none; the message is that of the first one tried.
        """
        size = self.shape[axis]
        self.share(Region(axis=axis, start=0, stop=size))  # what fails even undivided fails everywhere
        candidates = sorted(range(multiple, size, multiple), key=lambda at: (abs(at - position), at))
        for at in candidates:
            if self.legal(axis, at):
                return at
        if candidates:
            self.share(Region(axis=axis, start=0, stop=candidates[0]))
            self.share(Region(axis=axis, start=candidates[0], stop=size))
        raise SplitError(f"{self.result!r} has {size} along axis {axis}: nothing to divide in steps of {multiple}")


def chain_of(graph: Graph, names: Sequence[str]) -> Chain:
    """The chain of the operators with these names.

    Raises:
        UnknownNameError: the prepared model has no such operator.
        SplitError: they give no single tensor at their end, or a shape is not known.
    """
    nodes = graph.model.graph.node
    position = {node.name: at for at, node in enumerate(nodes)}
    unknown = [name for name in names if name not in position]
    if unknown:
        some = list(position)[:10]
        raise UnknownNameError("operator", unknown[0], known=some, hint="Graph.operators lists all.")
    members = tuple(sorted({position[name] for name in names}))
    return Chain(graph=graph, members=members, result=result_of(graph, members))


def result_of(graph: Graph, members: Sequence[int]) -> str:
    """The only tensor that leaves a set of nodes; SplitError where there is another number of them."""
    left = leaving(graph, members)
    nodes = graph.model.graph.node
    if len(left) != 1:
        names = ", ".join(nodes[at].name for at in members)
        raise SplitError(f"the operators {names} must give one tensor, they give {', '.join(left) or 'none'}")
    inside = {name for at in members for name in used_names(nodes[at])}
    if left[0] in inside:
        raise SplitError(f"{left[0]!r} is needed both inside the chain and after it: end the chain there")
    return left[0]


def leaving(graph: Graph, members: Sequence[int]) -> list[str]:
    """Tensors that a set of nodes makes and that are outputs of the model or needed outside the set."""
    chosen = set(members)
    users, outputs = graph.consumers, {spec.name for spec in graph.outputs}
    return [
        name
        for at in members
        for name in graph.model.graph.node[at].output
        if name and (name in outputs or not users.get(name, frozenset()) <= chosen)
    ]


def static_shape(specs: Mapping[str, TensorSpec], name: str) -> Shape:
    """The shape of a tensor; SplitError where it is not known."""
    spec = specs.get(name)
    if spec is None or not spec.is_static or spec.shape is None:
        raise SplitError(f"the shape of {name!r} is not known, so it cannot be divided")
    return spec.shape


def _hull(node: onnx.NodeProto, regions: Mapping[str, Region]) -> Region | None:
    """The range of its outputs that an operator must compute; several outputs are computed over the same one."""
    known = [regions[name] for name in node.output if name in regions]
    found: Region | None = known[0] if known else None
    for other in known[1:]:
        found = found.hull(other) if found is not None else None
    return found


def _op(graph: Graph, node: onnx.NodeProto) -> Op:
    constants: dict[int, Array] = {}
    for at, name in enumerate(node.input):
        tensor = graph.initializers.get(name)
        if tensor is not None and tensor.data_location != onnx.TensorProto.EXTERNAL:
            constants[at] = numpy_helper.to_array(tensor)
    return Op(
        node=node,
        shapes=tuple(static_shape(graph.specs, name) if name else None for name in node.input),
        output=static_shape(graph.specs, next(iter(node.output), "")),
        opset=graph.opset,
        constants=constants,
    )
