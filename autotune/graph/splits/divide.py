"""A model with divided operators as a graph of its own, and the stages that its parts become."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.graph.dims import model_inputs
from autotune.graph.extract import write_model
from autotune.graph.graph import Graph, assemble
from autotune.graph.prepare import MODEL_FILE, Prepared
from autotune.graph.splits.rewrite import Split, rewrite
from autotune.graph.splits.weights import WeightsWriter
from autotune.graph.values import used_names


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Divided:
    """A model in which chains of operators are divided.

    Args:
        graph: an ordinary graph, with the original's inputs and outputs.
        parts: [splits][parts] names of the operators of each part in `graph`.
        ends: [splits][parts] where each part ends along the axis of its split.
    """

    graph: Graph
    parts: tuple[tuple[tuple[str, ...], ...], ...]
    ends: tuple[tuple[int, ...], ...]

    def stages(self) -> tuple[tuple[str, ...], ...]:
        """Sets of operators for `partition`: each part one, and what lies between the splits.

        An operator outside the splits goes as early as it can: it runs after the last split that it needs. The Concat
        that joins a split's parts belongs to what comes after.
        """
        nodes = self.graph.model.graph.node
        split_of = {name: at for at, parts in enumerate(self.parts) for part in parts for name in part}
        order = list(dict.fromkeys(split_of[node.name] for node in nodes if node.name in split_of))
        level_of: dict[str, int] = {}  # by tensor: how many of `order` had to run before it
        rest: list[list[str]] = [[] for _ in range(len(order) + 1)]
        for node in nodes:
            level = max((level_of.get(name, 0) for name in used_names(node)), default=0)
            if node.name in split_of:
                level = order.index(split_of[node.name]) + 1
            else:
                rest[level].append(node.name)
            level_of |= dict.fromkeys((name for name in node.output if name), level)
        sets: list[tuple[str, ...]] = [tuple(rest[0])]
        for at, number in enumerate(order):
            sets += [*self.parts[number], tuple(rest[at + 1])]
        return tuple(names for names in sets if names)


def divide(graph: Graph, splits: Sequence[Split], *, work: Path | None = None) -> Divided:
    """The model with chains of operators divided between lanes; its outputs are the same up to float32 reordering.

    Args:
        graph: the model.
        splits: what to divide, and how; chains must not overlap.
        work: folder for the new model and its weights; None makes a temporary one that lives as long as its graph.

    Raises:
        SplitError: a chain cannot be divided so.
        UnknownNameError: an operator is not in the model.
        StoreError: there is no space.
    """
    if work is not None:
        return _divide(graph, splits, work)
    folder = tempfile.mkdtemp(prefix="autotune-split-")
    try:
        divided = _divide(graph, splits, Path(folder) / "model")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(divided.graph, shutil.rmtree, folder, ignore_errors=True)
    return divided


def _divide(graph: Graph, splits: Sequence[Split], work: Path) -> Divided:
    work.mkdir(parents=True, exist_ok=True)
    with WeightsWriter(graph.path.parent, work) as weights:
        made = rewrite(graph, splits, weights)
    path = work / MODEL_FILE
    write_model(made.model, path)
    prepared = Prepared(model=made.model, source=path, inputs=tuple(model_inputs(made.model.graph)))
    divided = assemble(graph.name, prepared, work, origin=(path, {}, {}))
    return Divided(graph=divided, parts=tuple(made.parts), ends=tuple(made.ends))
