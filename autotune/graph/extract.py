"""Stages as ONNX files whose weights are stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from autotune.core import TensorSpec
from autotune.errors import ModelError, StoreError
from autotune.graph.files import copy_file, link_or_copy
from autotune.graph.graph import Graph
from autotune.graph.prepare import WEIGHTS_FILE, has_bodies
from autotune.graph.values import used_names

SubModel = tuple[onnx.ModelProto, tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
"""A model, its inputs, its outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFile:
    """A stage as a file.

    Args:
        path: the ONNX file; its weights are in `weights.bin` beside it.
        start: first kernel.
        stop: one past the last.
        inputs: what it takes.
        outputs: what it gives.
        operators: number of ONNX nodes.
    """

    path: Path
    start: int
    stop: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: int


def extract(graph: Graph, ranges: Sequence[tuple[int, int]], folder: Path) -> tuple[StageFile, ...]:
    """Writes one ONNX file per range of kernels; weights are stored once in `folder/weights.bin`.

    Args:
        graph: the model.
        ranges: (start, stop) of kernels; any, also overlapping ones.
        folder: where to write; made if missing.

    Raises:
        ModelError: a range begins or ends where the model cannot be cut.
        StoreError: a file cannot be written.
    """
    for start, stop in ranges:
        if not (0 <= start < stop <= len(graph.kernels) and graph.cuts[start].legal and graph.cuts[stop].legal):
            raise ModelError(f"{graph.name} cannot be cut at kernels {start} and {stop}")
    open_folder(graph, folder)
    return tuple(_write(graph, start, stop, folder) for start, stop in ranges)


def _write(graph: Graph, start: int, stop: int, folder: Path) -> StageFile:
    model, inputs, outputs = stage_model(graph, start, stop)
    path = folder / f"stage_{start}_{stop}.onnx"
    write_model(model, path)
    return StageFile(path=path, start=start, stop=stop, inputs=inputs, outputs=outputs, operators=len(model.graph.node))


def open_folder(graph: Graph, folder: Path) -> None:
    """Makes a folder for stages and puts the model's weights there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}") from error
    weights = graph.path.parent / WEIGHTS_FILE
    if weights.exists() and not (folder / WEIGHTS_FILE).exists():
        # ONNX Runtime 1.32 refuses a file with several links for the weights of an If's or a Loop's body
        (copy_file if has_bodies(graph.model) else link_or_copy)(weights, folder / WEIGHTS_FILE)


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Writes a model without its weights, complete or not at all."""
    draft = path.with_suffix(".part")
    try:
        draft.write_bytes(model.SerializeToString())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be written ({error.strerror}); {model.ByteSize():,} bytes are needed"
        ) from error


def stage_model(graph: Graph, start: int, stop: int) -> SubModel:
    """The model of kernels `start` to `stop`, its inputs and outputs."""
    full = graph.model.graph
    members = sorted(at for group in graph.groups[start:stop] for at in group)
    name = f"{full.name}_{start}_{stop}"
    ends = [value.name for value in full.output]
    if (start, stop) == (0, len(graph.kernels)):
        return sub_model(graph, members, name=name, inputs=[spec.name for spec in graph.inputs], outputs=ends)
    after = {spec.name for spec in graph.cuts[stop].tensors} | set(ends)
    return sub_model(graph, members, name=name, outputs=[n for n in outputs_of(graph, members) if n in after])


def outputs_of(graph: Graph, members: Sequence[int]) -> list[str]:
    """Tensors that a set of nodes makes."""
    return [name for at in members for name in graph.model.graph.node[at].output if name]


def sub_model(
    graph: Graph, members: Sequence[int], *, name: str, outputs: Sequence[str], inputs: Sequence[str] | None = None
) -> SubModel:
    """The model of some nodes, its inputs and outputs.

    Args:
        graph: the model.
        members: positions of the nodes, in an order in which they can run.
        name: of the new model's graph.
        outputs: tensors that it gives.
        inputs: tensors that it takes; None: those that its nodes need and do not make.
    """
    full = graph.model.graph
    nodes = [full.node[at] for at in members]
    made = set(outputs_of(graph, members))
    used = dict.fromkeys(used for node in nodes for used in used_names(node))
    needed = {*used, *outputs}
    if inputs is None:
        inputs = [used for used in used if used not in made and used not in graph.initializers]
    values = {value.name: value for value in (*full.value_info, *full.input, *full.output)}
    model = _shell(graph.model)
    stage = model.graph
    stage.name = name
    stage.node.extend(nodes)
    stage.initializer.extend(tensor for tensor in full.initializer if tensor.name in needed)
    stage.input.extend(values[name] for name in inputs)
    stage.output.extend(values[name] for name in outputs)
    known = {*inputs, *outputs}
    stage.value_info.extend(values[name] for name in made - known if name in values)
    specs = graph.specs
    return (
        model,
        tuple(specs[name] for name in inputs if name in specs),
        tuple(specs[name] for name in outputs if name in specs),
    )


def _shell(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its graph: versions, opsets, functions."""
    shell = onnx.ModelProto()
    shell.ir_version = model.ir_version
    shell.producer_name = "autotune"
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    return shell
