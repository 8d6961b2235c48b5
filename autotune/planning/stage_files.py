"""A candidate's stages as ONNX files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from autotune.core import Candidate, StageChoice
from autotune.errors import ModelError
from autotune.graph import Graph, Split, divide, extract, extract_sets, partition


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenStage:
    """A stage on disk.

    Args:
        path: the ONNX file; its weights are beside it.
        choice: what it is.
        inputs: names of the tensors that it takes.
        outputs: names of those that it gives.
        operators: number of its nodes.
    """

    path: Path
    choice: StageChoice
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: int


def write_stages(graph: Graph, candidate: Candidate, folder: Path, *, whole: bool = False) -> tuple[WrittenStage, ...]:
    """Writes one file per stage, in an order in which they can run; their weights are stored once.

    Args:
        graph: the model.
        candidate: its stages.
        folder: where to write; one of its own for a candidate with splits, whose weights are divided too.
        whole: also the whole model, as the last file, where it is not a stage anyhow.

    Raises:
        ModelError: the stages need each other in a circle, or do not cover the model.
        SplitError: a chain cannot be divided so.
        StoreError: a file cannot be written.
    """
    if candidate.stages_are_runs:
        choices = list(candidate.stages)
        if whole and not candidate.is_single_lane:
            choices.append(StageChoice(start=0, stop=len(graph.kernels), lane=choices[0].lane))
        files = extract(graph, [(choice.start, choice.stop) for choice in choices], folder)
        return tuple(
            WrittenStage(
                path=file.path,
                choice=choice,
                inputs=tuple(tensor.name for tensor in file.inputs),
                outputs=tuple(tensor.name for tensor in file.outputs),
                operators=file.operators,
            )
            for file, choice in zip(files, choices, strict=True)
        )
    return _write_sets(graph, candidate, folder, whole=whole)


def _write_sets(graph: Graph, candidate: Candidate, folder: Path, *, whole: bool) -> tuple[WrittenStage, ...]:
    splits = [
        Split(operators=_operators(graph, split.kernels), axis=split.axis, shares=split.shares)
        for split in candidate.splits
    ]
    divided = divide(graph, splits) if splits else None
    model = divided.graph if divided is not None else graph
    number = {split.kernels: at for at, split in enumerate(candidate.splits)}
    sets: list[list[str]] = []
    choices = [stage for stage in candidate.stages if not _joins(candidate, stage)]
    for stage in choices:
        if stage.part is None:
            sets.append(list(_operators(graph, stage.positions)))
        elif divided is None or stage.kernels not in number:
            raise ModelError(f"the stage {stage} is a part of kernels that no split of the plan divides")
        else:
            sets.append(list(divided.parts[number[stage.kernels]][stage.part]))
    owner = {name: at for at, names in enumerate(sets) for name in names}
    nodes = model.model.graph.node
    maker = {name: owner[node.name] for node in nodes if node.name in owner for name in node.output}
    for node in [node for node in nodes if node.name not in owner]:  # what joins parts
        users = {owner[nodes[at].name] for name in node.output for at in model.consumers.get(name, ())}
        only = users.pop() if len(users) == 1 else None
        if only is not None and choices[only].part is None:
            owner[node.name] = only
            sets[only].append(node.name)
        else:  # several wait for it, or one of the next split's parts, which must not make the other wait
            part = choices[maker[node.input[0]]]
            split = candidate.splits[number[part.kernels]]
            owner[node.name] = len(sets)
            sets.append([node.name])
            choices.append(replace(part, part=len(split.shares)))
    stages = partition(model, sets)
    files = extract_sets(model, stages, folder)
    found = [
        WrittenStage(
            path=file.path,
            choice=choices[owner[file.stage.operators[0]]],
            inputs=tuple(tensor.name for tensor in file.stage.inputs),
            outputs=tuple(tensor.name for tensor in file.stage.outputs),
            operators=len(file.stage.operators),
        )
        for file in files
    ]
    if whole:
        everything = StageChoice(start=0, stop=len(model.kernels), lane=candidate.stages[0].lane)
        found += write_stages(model, Candidate(stages=(everything,)), folder)
    return tuple(found)


def _joins(candidate: Candidate, stage: StageChoice) -> bool:
    """Whether a stage is only what joins the parts of a split."""
    return any(split.kernels == stage.kernels and stage.part == len(split.shares) for split in candidate.splits)


def _operators(graph: Graph, kernels: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(name for at in kernels for name in graph.kernels[at].operators)
