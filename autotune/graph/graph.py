"""The model as the search sees it: kernels in an order, and where it can be cut."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from autotune.core import Kernel, TensorSpec
from autotune.errors import ModelError, UnsupportedModelError
from autotune.graph.fusion import group_nodes
from autotune.graph.inputs import embedding_limits, random_inputs
from autotune.graph.kernels import GraphView, make_kernel
from autotune.graph.operators import Operator, operator_of
from autotune.graph.parts import OutputPart, output_parts
from autotune.graph.prepare import MODEL_FILE, digest, foreign_domains, prepare
from autotune.graph.values import all_specs, input_specs, required_specs, spec_of, used_names


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUse:
    """A kernel where it stands in a model.

    Args:
        kernel: what it is.
        operators: names of its nodes in the prepared model.
    """

    kernel: Kernel
    operators: tuple[str, ...]


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A prepared model; immutable.

    Args:
        name: the file's stem.
        path: the prepared model.
        source: the file as given, with fixed dimensions.
        model: the prepared model without its weights.
        groups: indices of nodes by kernel, in execution order.
        kernels: in execution order.
        cuts: one more than kernels.
        inputs: the model's inputs.
        outputs: the model's outputs.
        specs: every tensor whose type is known.
        output_parts: parts of the outputs that a final Concat joins.
        origin: the file, shapes and dims that it was loaded from.
        parent: the graph that owns the folder, where another does.
    """

    name: str
    path: Path
    source: Path
    model: onnx.ModelProto
    groups: tuple[tuple[int, ...], ...]
    kernels: tuple[KernelUse, ...]
    cuts: tuple[Cut, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    specs: Mapping[str, TensorSpec]
    output_parts: tuple[OutputPart, ...]
    origin: tuple[Path, Mapping[str, Sequence[int]], Mapping[str, int]]
    parent: Graph | None = field(default=None, repr=False)

    @cached_property
    def sha256(self) -> str:
        """Hash over structure and weights of the prepared model."""
        return digest(self.model, self.path.parent)

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """All nodes with their FLOPs and bytes, in execution order."""
        constants = {tensor.name for tensor in self.model.graph.initializer}
        nodes = self.model.graph.node
        return tuple(operator_of(nodes[at], self.specs, constants) for group in self.groups for at in group)

    @property
    def flops(self) -> int:
        """Floating-point operations of one inference, 2 per multiply-accumulate."""
        return sum(operator.flops for operator in self.operators)

    def batched(self, size: int) -> Graph:
        """The same model for `size` times as many samples along the first dimension of every input.

        Raises:
            ModelError: it has inputs without a batch dimension, or its outputs do not follow.
        """
        if not all(spec.shape for spec in self.inputs) or not self.inputs:
            raise ModelError(f"{self.name} has an input without a batch dimension")
        shapes = {spec.name: (spec.shape[0] * size, *spec.shape[1:]) for spec in self.inputs if spec.shape}
        path, _, _ = self.origin  # full shapes say all that the dimensions said
        work = self.path.parent.parent / f"{self.path.parent.name}-batch{size}"
        graph = _load(path, work, shapes=shapes, dims={}, replace=True, parent=self)
        _check_batch(self, graph, size)
        return graph


def load(
    path: str | Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    dims: Mapping[str, int] | None = None,
    work: Path | None = None,
) -> Graph:
    """Checks and prepares a model.

    Args:
        path: an ONNX file; external data beside it.
        shapes: full shapes of inputs by name.
        dims: values of symbolic dimensions by name.
        work: folder for the prepared model; None makes a temporary one that lives as long as the graph.

    Raises:
        ModelFileError, UnsupportedModelError, UsageError, UnresolvedDimensionError: see `autotune.errors`.
    """
    if work is not None:
        return _load(Path(path), work, shapes=shapes or {}, dims=dims or {}, replace=False)
    folder = tempfile.mkdtemp(prefix="autotune-graph-")
    try:
        graph = _load(Path(path), Path(folder) / "model", shapes=shapes or {}, dims=dims or {}, replace=False)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(graph, shutil.rmtree, folder, ignore_errors=True)
    return graph


def _load(
    path: Path,
    work: Path,
    *,
    shapes: Mapping[str, Sequence[int]],
    dims: Mapping[str, int],
    replace: bool,
    parent: Graph | None = None,
) -> Graph:
    prepared = prepare(path, work, shapes=shapes, dims=dims, replace=replace)
    model, source = prepared.model, prepared.source
    _check_ends(path, prepared.inputs, model.graph.output)
    nodes = list(model.graph.node)
    specs = all_specs(model.graph)
    specs |= {spec.name: spec for value in prepared.inputs if (spec := spec_of(value)) is not None}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    outputs = required_specs(model.graph.output, specs)
    names = {value.name for value in model.graph.output}
    groups = group_nodes(nodes, constants=set(initializers), outputs=names)
    users: dict[str, set[int]] = {}
    for at, node in enumerate(nodes):
        for name in used_names(node):
            users.setdefault(name, set()).add(at)
    view = GraphView(
        specs=specs,
        initializers=initializers,
        outputs=frozenset(names),
        consumers={name: frozenset(found) for name, found in users.items()},
        opset=next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1),
        foreign=foreign_domains(model),
    )
    kernels = tuple(
        KernelUse(kernel=make_kernel(group, nodes, view), operators=tuple(nodes[at].name for at in group))
        for group in groups
    )
    return Graph(
        name=path.stem,
        path=work / MODEL_FILE,
        source=source,
        model=model,
        groups=tuple(tuple(group) for group in groups),
        kernels=kernels,
        cuts=_cuts(groups, nodes, specs, names),
        inputs=input_specs(model.graph, specs),
        outputs=outputs,
        specs=specs,
        output_parts=output_parts(outputs, nodes, specs),
        origin=(path, shapes, dims),
        parent=parent,
    )


def _check_ends(path: Path, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> None:
    """Only tensors can be made up, stored and compared."""
    if not inputs:
        raise UnsupportedModelError(f"{path} has no inputs: there is nothing to run it on")
    for what, value in (*(("input", value) for value in inputs), *(("output", value) for value in outputs)):
        if spec_of(value) is None:
            kind = (value.type.WhichOneof("value") or "unknown type").removesuffix("_type")
            if kind == "tensor":
                kind = f"tensor of the element type {value.type.tensor_type.elem_type}"
            raise UnsupportedModelError(
                f"{path}: the {what} {value.name!r} is a {kind}, autotune takes and compares plain tensors only. "
                "Export the model without it (a scikit-learn classifier: convert with options={'zipmap': False})"
            )


def _cuts(
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


def _check_batch(single: Graph, batch: Graph, size: int) -> None:
    """Runs both once: the batch must give each sample's own outputs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    feeds = random_inputs(single.inputs, seed=0, high=embedding_limits(single))
    many = {name: np.concatenate([array] * size) for name, array in feeds.items()}
    try:
        one = ort.InferenceSession(str(single.path), options, providers=["CPUExecutionProvider"]).run(None, feeds)
        all_ = ort.InferenceSession(str(batch.path), options, providers=["CPUExecutionProvider"]).run(None, many)
    except Exception as error:
        raise ModelError(f"{single.name} cannot run a batch of {size}: {' '.join(str(error).split())[:200]}") from error
    for spec, alone, together in zip(single.outputs, one, all_, strict=True):
        if not alone.ndim or together.shape != (alone.shape[0] * size, *alone.shape[1:]):
            raise ModelError(f"{single.name}: the output {spec.name!r} does not follow a batch of {size}")
        if alone.dtype.kind == "f" and not np.allclose(together[: alone.shape[0]], alone, rtol=1e-2, atol=1e-3):
            raise ModelError(f"{single.name}: the samples of a batch of {size} are not independent")
