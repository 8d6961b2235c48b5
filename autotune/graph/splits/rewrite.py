"""Chains of operators divided between lanes, as an ordinary ONNX model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autotune.errors import SplitError
from autotune.graph.graph import Graph
from autotune.graph.splits.chain import Chain, Share, chain_of, static_shape
from autotune.graph.splits.region import Part, Region, Shape
from autotune.graph.splits.weights import WeightsWriter
from autotune.graph.values import used_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How a chain of operators is divided.

    Args:
        operators: names of the chain's operators in the prepared model; they give one tensor.
        axis: of that tensor: the axis along which it is divided.
        shares: sizes of the parts, relative to each other, such as (0.7, 0.3); met as well as the operators allow.
        multiple: parts begin at multiples of this.

    Raises:
        SplitError: fewer than two shares, or one that is not positive.
    """

    operators: tuple[str, ...]
    axis: int
    shares: tuple[float, ...]
    multiple: int = 1

    def __post_init__(self) -> None:
        if len(self.shares) < 2 or not all(math.isfinite(share) and share > 0 for share in self.shares):
            raise SplitError(f"a split needs two or more positive shares, got {self.shares}")
        if self.multiple < 1:
            raise SplitError(f"parts must begin at multiples of 1 or more, got {self.multiple}")


@dataclass(slots=True, kw_only=True)
class Rewritten:
    """A model while it is written.

    Args:
        model: the new model.
        parts: per split, per part: names of its nodes.
        ends: per split, where its parts end along the axis.
    """

    model: onnx.ModelProto
    parts: list[tuple[tuple[str, ...], ...]] = field(default_factory=list)
    ends: list[tuple[int, ...]] = field(default_factory=list)


def rewrite(graph: Graph, splits: Sequence[Split], weights: WeightsWriter) -> Rewritten:
    """The model with its chains divided; every part ends in a tensor of its own, which a Concat joins.

    Raises:
        SplitError: a chain cannot be divided so, or two of them overlap.
        UnknownNameError: an operator is not in the model.
    """
    full = graph.model.graph
    chains = [chain_of(graph, split.operators) for split in splits]
    _check_apart(chains, full)
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    result = Rewritten(model=model)
    first = _free_number(graph)
    made: dict[int, list[onnx.NodeProto]] = {}
    writers = []
    for number, (split, chain) in enumerate(zip(splits, chains, strict=True), first):
        regions = _regions(chain, split)
        pieces = [
            _Piece(chain, chain.share(region), f"split{number}.part{at}", weights) for at, region in enumerate(regions)
        ]
        for piece in pieces:
            piece.write()
        joined = [f"{chain.result}/{piece.tag}" for piece in pieces]
        join = helper.make_node(
            "Concat", joined, [chain.result], name=f"{chain.result}/split{number}.join", axis=regions[0].axis
        )
        made[chain.members[-1]] = [*(node for piece in pieces for node in piece.nodes), join]
        writers += pieces
        result.parts.append(tuple(tuple(node.name for node in piece.nodes) for piece in pieces))
        result.ends.append(tuple(region.stop for region in regions))
    gone = {at for chain in chains for at in chain.members}
    del model.graph.node[:]
    for at, node in enumerate(full.node):
        model.graph.node.extend(made.get(at, [] if at in gone else [node]))
    _put_tensors(model.graph, full, chains, writers, weights=weights)
    return result


def can_divide(graph: Graph, split: Split) -> bool:
    """Whether a chain can be divided so: each part, between its neighbours' ends, and not only in two."""
    try:
        chain = chain_of(graph, split.operators)
        for region in _regions(chain, split):
            chain.share(region)
    except SplitError:
        return False
    return True


def _regions(chain: Chain, split: Split) -> list[Region]:
    rank = len(chain.shape)
    if not -rank <= split.axis < rank:
        raise SplitError(f"{chain.result!r} has {rank} axes, there is no axis {split.axis}")
    axis, size = split.axis % rank, chain.shape[split.axis]
    wanted = np.cumsum(split.shares)[:-1] / sum(split.shares) * size
    ends = [0, *(chain.nearest(axis, float(at), multiple=split.multiple) for at in wanted), size]
    if any(start >= stop for start, stop in pairwise(ends)):
        raise SplitError(f"{chain.result!r}: axis {axis} of {size} is too short for {len(split.shares)} parts")
    return [Region(axis=axis, start=start, stop=stop) for start, stop in pairwise(ends)]


class _Piece:
    """One part of a chain while its nodes are made."""

    def __init__(self, chain: Chain, share: Share, tag: str, weights: WeightsWriter) -> None:
        self.tag = tag
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.values: list[onnx.ValueInfoProto] = []
        self._chain, self._share, self._weights = chain, share, weights
        self._taken: dict[tuple[str, Region], str] = {}

    def write(self) -> None:
        full = self._chain.graph.model.graph
        for at, part in self._share.work:
            self._operator(full.node[at], part)

    def _operator(self, node: onnx.NodeProto, part: Part) -> None:
        own = onnx.NodeProto()
        own.CopyFrom(node)
        own.name = f"{node.name}/{self.tag}"
        for name, value in part.attributes.items():
            for known in [item for item in own.attribute if item.name == name]:
                own.attribute.remove(known)
            own.attribute.append(helper.make_attribute(name, value))
        for at, (name, need) in enumerate(zip(node.input, part.needs, strict=True)):
            if at in part.values:
                own.input[at] = f"{own.name}/input{at}"
                self.tensors.append(numpy_helper.from_array(part.values[at], own.input[at]))
            elif name:
                own.input[at] = self._input(name, need)
        for at, name in enumerate(node.output):
            own.output[at] = f"{name}/{self.tag}"
            self._describe(own.output[at], name, self._share.regions[name])
        self.nodes.append(own)

    def _input(self, name: str, need: Region | None) -> str:
        """The tensor that holds a range of another one; made where there is none yet."""
        graph = self._chain.graph
        have: Region | None = None
        if name in self._chain.inner:
            have = self._share.regions[name]
        elif need is not None and need.length == static_shape(graph.specs, name)[need.axis]:
            need = None
        source = f"{name}/{self.tag}" if have is not None else name
        if need is None or need == have:
            return source
        if (name, need) not in self._taken:
            target = f"{name}/{self.tag}/{need.axis}.{need.start}.{need.stop}"
            self._taken[name, need] = target
            if name in graph.initializers:
                self.tensors.append(self._weights.part(graph.initializers[name], need, target))
            else:
                self._slice(source, target, need, 0 if have is None else have.start)
                self._describe(target, name, need)
        return self._taken[name, need]

    def _slice(self, source: str, target: str, need: Region, origin: int) -> None:
        bounds = {"starts": need.start - origin, "ends": need.stop - origin, "axes": need.axis}
        if self._chain.graph.opset < 10:
            attributes = {name: [value] for name, value in bounds.items()}
            self.nodes.append(helper.make_node("Slice", [source], [target], name=target, **attributes))
            return
        names = [f"{target}/{name}" for name in bounds]
        for name, value in zip(names, bounds.values(), strict=True):
            self.tensors.append(numpy_helper.from_array(np.array([value], np.int64), name))
        self.nodes.append(helper.make_node("Slice", [source, *names], [target], name=target))

    def _describe(self, name: str, whole: str, region: Region) -> None:
        shape: Shape = region.of(static_shape(self._chain.graph.specs, whole))
        kind = self._chain.graph.element_types[whole]
        self.values.append(helper.make_tensor_value_info(name, kind, shape))


def _put_tensors(
    graph: onnx.GraphProto,
    full: onnx.GraphProto,
    chains: Sequence[Chain],
    pieces: Sequence[_Piece],
    *,
    weights: WeightsWriter,
) -> None:
    """Weights that are still needed, those of the parts, and types of all tensors that remain."""
    used = {name for node in graph.node for name in used_names(node)} | {value.name for value in graph.output}
    gone = {name for chain in chains for name in chain.inner - {chain.result}}
    del graph.initializer[:]
    graph.initializer.extend(weights.keep(tensor for tensor in full.initializer if tensor.name in used))
    graph.initializer.extend(tensor for piece in pieces for tensor in piece.tensors)
    del graph.value_info[:]
    graph.value_info.extend(value for value in full.value_info if value.name not in gone)
    graph.value_info.extend(value for piece in pieces for value in piece.values)


def _check_apart(chains: Sequence[Chain], full: onnx.GraphProto) -> None:
    owner: dict[int, int] = {}
    for number, chain in enumerate(chains):
        for at in chain.members:
            if owner.setdefault(at, number) != number:
                raise SplitError(f"{full.node[at].name!r} is in two splits")


def _free_number(graph: Graph) -> int:
    """Splits of a model that is already divided are counted on."""
    numbers = [-1]
    for node in graph.model.graph.node:
        tail = node.name.rpartition("/split")[2]
        if tail.endswith(".join") and tail[:-5].isdigit():
            numbers.append(int(tail[:-5]))
    return max(numbers) + 1
