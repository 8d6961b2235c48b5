"""Where a model can be divided between lanes: chains of operators, and the axes along which they can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from autotune.errors import SplitError
from autotune.graph.graph import Graph
from autotune.graph.splits.chain import Chain, leaving, result_of
from autotune.graph.splits.region import Region

ANCHORS = ("Conv", "MatMul", "Gemm")
"""Operators that are worth a split."""
DEFAULT_KERNELS = 8


class SplitKind(StrEnum):
    """How the first operator of a chain is divided."""

    BATCH = "batch"
    CHANNELS = "channels"
    HEIGHT = "height"
    WIDTH = "width"
    COLUMNS = "columns"
    ROWS = "rows"
    HEADS = "heads"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSite:
    """A chain that can be divided.

    Args:
        kind: what that means for its first operator.
        kernels: positions of the graph's kernels that it is made of.
        operators: names of its nodes.
        result: the tensor that it gives.
        axis: of the result.
        size: of the result along that axis.
    """

    kind: SplitKind
    kernels: tuple[int, ...]
    operators: tuple[str, ...]
    result: str
    axis: int
    size: int


def find_sites(graph: Graph, *, longest: int = DEFAULT_KERNELS) -> tuple[SplitSite, ...]:
    """Every chain that begins with a convolution or a matrix product, in every length and along every axis.

    A longer chain meets less often; by height it computes a wider halo twice.

    Args:
        graph: the model.
        longest: how many kernels a chain may have.
    """
    found: list[SplitSite] = []
    for first in range(len(graph.kernels)):
        if any(graph.model.graph.node[at].op_type in ANCHORS for at in graph.groups[first]):
            found += _from(graph, first, longest)
    return tuple(found)


def _from(graph: Graph, first: int, longest: int) -> Iterator[SplitSite]:
    kernels: Sequence[int] = (first,)
    while kernels and len(kernels) <= longest:
        members = sorted(at for kernel in kernels for at in graph.groups[kernel])
        try:
            chain = Chain(graph=graph, members=tuple(members), result=result_of(graph, members))
            kinds = _kinds(chain, graph.groups[first])
        except SplitError:  # no single result, or a shape that is not known
            return
        if not kinds:
            return
        for axis, kind in kinds:
            yield SplitSite(
                kind=kind,
                kernels=tuple(kernels),
                operators=tuple(graph.model.graph.node[at].name for at in members),
                result=chain.result,
                axis=axis,
                size=chain.shape[axis],
            )
        kernels = _longer(graph, kernels, longest)


def _longer(graph: Graph, kernels: Sequence[int], longest: int) -> tuple[int, ...]:
    """The next larger set with a single result: branches are taken along until they have joined; empty if none."""
    kernel_of = {at: kernel for kernel, group in enumerate(graph.groups) for at in group}
    chosen = list(kernels)
    while len(chosen) < longest:
        members = sorted(at for kernel in chosen for at in graph.groups[kernel])
        users = {kernel_of[at] for name in leaving(graph, members) for at in graph.consumers.get(name, ())}
        users -= set(chosen)
        if not users:
            return ()
        chosen = sorted([*chosen, min(users)])
        members = sorted(at for kernel in chosen for at in graph.groups[kernel])
        try:
            result_of(graph, members)
        except SplitError:
            continue
        return tuple(chosen)
    return ()


def _kinds(chain: Chain, group: Sequence[int]) -> list[tuple[int, SplitKind]]:
    """Axes of the result along which the chain can be divided about in the middle."""
    anchor = next(at for at in group if chain.ops[at].node.op_type in ANCHORS)
    found = []
    for axis, size in enumerate(chain.shape):
        if size < 2:
            continue
        try:
            position = chain.nearest(axis, size / 2)
            share = chain.share(Region(axis=axis, start=0, stop=position))
        except SplitError:
            continue
        region = share.regions[chain.ops[anchor].node.output[0]]
        found.append((axis, _kind(chain, anchor, region.axis)))
    return found


def _kind(chain: Chain, anchor: int, axis: int) -> SplitKind:
    op = chain.ops[anchor]
    rank = len(op.output)
    if op.node.op_type == "Conv":
        return {0: SplitKind.BATCH, 1: SplitKind.CHANNELS, 2: SplitKind.HEIGHT}.get(axis, SplitKind.WIDTH)
    if axis == rank - 1:
        return SplitKind.COLUMNS
    if axis == rank - 2:
        return SplitKind.ROWS
    both = all(shape is not None and len(shape) >= rank - axis for shape in op.shapes[:2])
    return SplitKind.HEADS if both and (axis > 0 or rank == 3) else SplitKind.BATCH
