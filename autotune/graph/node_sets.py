"""Stages that are any sets of operators: branches, and the parts of operators that are divided."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.core import TensorSpec
from autotune.errors import ModelError, UnknownNameError
from autotune.graph.extract import open_folder, outputs_of, sub_model, write_model
from autotune.graph.graph import Graph
from autotune.graph.values import used_names


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSet:
    """A stage that is a set of operators.

    Args:
        operators: names of its nodes in the prepared model, in the order they run.
        after: positions of the sets whose tensors it needs, among the sets of the same partition.
        inputs: what it takes.
        outputs: what other sets need of it, and outputs of the model.
    """

    operators: tuple[str, ...]
    after: tuple[int, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSetFile:
    """A set of operators as a file.

    Args:
        path: the ONNX file; its weights are in `weights.bin` beside it.
        stage: what it holds.
    """

    path: Path
    stage: NodeSet


def partition(graph: Graph, sets: Sequence[Collection[str]]) -> tuple[NodeSet, ...]:
    """Checks that sets of operators can be stages, and puts them in an order in which they can run.

    Args:
        graph: the model.
        sets: names of operators; together they are all of the model's, each once.

    Raises:
        UnknownNameError: an operator that the model does not have.
        ModelError: an operator in two sets or in none, an empty set, or sets that need each other in a circle.
    """
    nodes = graph.model.graph.node
    position = {node.name: at for at, node in enumerate(nodes)}
    owner: dict[int, int] = {}
    for number, names in enumerate(sets):
        if not names:
            raise ModelError(f"set {number} of {graph.name} holds no operator: leave it out")
        for name in names:
            if name not in position:
                raise UnknownNameError("operator", name, known=list(position)[:10])
            if owner.setdefault(position[name], number) != number:
                raise ModelError(f"the operator {name!r} is in the sets {owner[position[name]]} and {number}")
    missing = [node.name for at, node in enumerate(nodes) if at not in owner]
    if missing:
        raise ModelError(f"{len(missing)} operators of {graph.name} are in no set: {', '.join(missing[:5])}")
    maker = {name: owner[at] for at, node in enumerate(nodes) for name in node.output if name}
    needs: list[set[int]] = [set() for _ in sets]
    for at, node in enumerate(nodes):
        needs[owner[at]] |= {maker[name] for name in used_names(node) if name in maker}
    order = _order(graph, [before - {number} for number, before in enumerate(needs)])
    place = {number: at for at, number in enumerate(order)}
    members: list[list[int]] = [[] for _ in sets]
    for at in sorted(owner):
        members[owner[at]].append(at)
    made = []
    for number in order:
        before = tuple(sorted(place[other] for other in needs[number] - {number}))
        made.append(_node_set(graph, members[number], before))
    return tuple(made)


def extract_sets(graph: Graph, stages: Sequence[NodeSet], folder: Path) -> tuple[NodeSetFile, ...]:
    """Writes one ONNX file per set; weights are stored once in `folder/weights.bin`.

    Args:
        graph: the model.
        stages: what `partition` gave.
        folder: where to write; made if missing.

    Raises:
        StoreError: a file cannot be written.
    """
    open_folder(graph, folder)
    position = {node.name: at for at, node in enumerate(graph.model.graph.node)}
    files = []
    for number, stage in enumerate(stages):
        path = folder / f"set_{number}.onnx"
        members = [position[name] for name in stage.operators]
        outputs = [spec.name for spec in stage.outputs]
        model, _, _ = sub_model(graph, members, name=f"{graph.name}_set_{number}", outputs=outputs)
        write_model(model, path)
        files.append(NodeSetFile(path=path, stage=stage))
    return tuple(files)


def _order(graph: Graph, needs: Sequence[set[int]]) -> list[int]:
    try:
        return list(graphlib.TopologicalSorter(dict(enumerate(needs))).static_order())
    except graphlib.CycleError as error:
        circle = " -> ".join(map(str, error.args[1]))
        raise ModelError(f"the sets of {graph.name} need each other in a circle: {circle}") from error


def _node_set(graph: Graph, members: Sequence[int], after: tuple[int, ...]) -> NodeSet:
    nodes, own = graph.model.graph.node, set(members)
    ends = {spec.name for spec in graph.outputs}
    made = outputs_of(graph, members)
    used = dict.fromkeys(name for at in members for name in used_names(nodes[at]))
    inputs = [name for name in used if name not in set(made) and name not in graph.initializers]
    outputs = [name for name in made if name in ends or not graph.consumers.get(name, frozenset()) <= own]
    unknown = [name for name in (*inputs, *outputs) if name not in graph.specs]
    if unknown:
        raise ModelError(f"{graph.name} cannot be cut at {unknown[0]!r}, which is no tensor")
    return NodeSet(
        operators=tuple(nodes[at].name for at in members),
        after=after,
        inputs=tuple(graph.specs[name] for name in inputs),
        outputs=tuple(graph.specs[name] for name in outputs),
    )
