"""Where a model can be cut into stages that run one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from autotune.core import TensorSpec
from autotune.graph.values import used_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A place between two kernels of the order.

    Args:
        position: the cut lies before kernel `position`.
        legal: whether stages may begin and end here.
        tensors: what was computed before and is needed after; the model's own inputs are not counted.
        bytes: their size.
    """

    position: int
    legal: bool
    tensors: tuple[TensorSpec, ...]
    bytes: int


def find_cuts(
    groups: Sequence[Sequence[int]],
    nodes: Sequence[onnx.NodeProto],
    specs: Mapping[str, TensorSpec],
    outputs: set[str],
) -> tuple[Cut, ...]:
    """A cut is legal unless something crosses that is no tensor, or an output of the model is made by no node."""
    made: dict[str, int] = {}
    last_use: dict[str, int] = {}
    for position, group in enumerate(groups):
        for at in group:
            for name in used_names(nodes[at]):
                last_use[name] = position
            made |= {name: position for name in nodes[at].output if name}
    whole = not outputs <= set(made)
    crossing: list[list[str]] = [[] for _ in range(len(groups) + 1)]
    for name, position in made.items():
        for cut in range(position + 1, last_use.get(name, position) + 1):
            crossing[cut].append(name)
    cuts = []
    for position, names in enumerate(crossing):
        tensors = tuple(specs[name] for name in names if name in specs)
        end = position in (0, len(groups))
        legal = end or (not whole and len(tensors) == len(names) > 0)
        cuts.append(Cut(position=position, legal=legal, tensors=tensors, bytes=sum(spec.bytes for spec in tensors)))
    return tuple(cuts)
