"""Stages as ONNX files whose weights are stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from autotune.core import TensorSpec
from autotune.errors import ModelError, StoreError
from autotune.graph.files import link_or_copy
from autotune.graph.graph import Graph
from autotune.graph.prepare import WEIGHTS_FILE
from autotune.graph.values import used_names


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}") from error
    weights = graph.path.parent / WEIGHTS_FILE
    if weights.exists() and not (folder / WEIGHTS_FILE).exists():
        link_or_copy(weights, folder / WEIGHTS_FILE)
    return tuple(_write(graph, start, stop, folder) for start, stop in ranges)


def _write(graph: Graph, start: int, stop: int, folder: Path) -> StageFile:
    model, inputs, outputs = stage_model(graph, start, stop)
    path = folder / f"stage_{start}_{stop}.onnx"
    draft = path.with_suffix(".part")
    try:
        draft.write_bytes(model.SerializeToString())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be written ({error.strerror}); {model.ByteSize():,} bytes are needed"
        ) from error
    return StageFile(path=path, start=start, stop=stop, inputs=inputs, outputs=outputs, operators=len(model.graph.node))


def stage_model(
    graph: Graph, start: int, stop: int
) -> tuple[onnx.ModelProto, tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The model of kernels `start` to `stop`, its inputs and outputs."""
    full = graph.model.graph
    members = sorted(at for group in graph.groups[start:stop] for at in group)
    nodes = [full.node[at] for at in members]
    made = {name for node in nodes for name in node.output if name}
    used = list(dict.fromkeys(name for node in nodes for name in used_names(node)))
    constants = {tensor.name: tensor for tensor in full.initializer}
    values = {value.name: value for value in (*full.value_info, *full.input, *full.output)}
    ends = [value.name for value in full.output]
    if (start, stop) == (0, len(graph.kernels)):
        input_names = [spec.name for spec in graph.inputs]
        output_names = ends
        needed = set(used) | set(ends)
    else:
        input_names = [name for name in used if name not in made and name not in constants]
        after = {spec.name for spec in graph.cuts[stop].tensors}
        output_names = [name for node in nodes for name in node.output if name and (name in after or name in ends)]
        needed = set(used)
    model = onnx.ModelProto()
    model.CopyFrom(_shell(graph.model))
    stage = model.graph
    stage.name = f"{full.name}_{start}_{stop}"
    stage.node.extend(nodes)
    stage.initializer.extend(tensor for name, tensor in constants.items() if name in needed)
    stage.input.extend(values[name] for name in input_names)
    stage.output.extend(values[name] for name in output_names)
    known = set(input_names) | set(output_names)
    stage.value_info.extend(values[name] for name in made - known if name in values)
    specs = graph.specs
    return (
        model,
        tuple(specs[name] for name in input_names if name in specs),
        tuple(specs[name] for name in output_names if name in specs),
    )


def _shell(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its graph: versions, opsets, functions."""
    shell = onnx.ModelProto()
    shell.ir_version = model.ir_version
    shell.producer_name = "autotune"
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    return shell
