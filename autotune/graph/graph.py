"""The model as the search sees it: kernels in an order, and where it can be cut."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from autotune.core import Kernel, TensorSpec, one_line
from autotune.errors import ModelError, UnsupportedModelError
from autotune.graph.cuts import Cut, find_cuts
from autotune.graph.grouped import grouped
from autotune.graph.inputs import embedding_limits, random_inputs
from autotune.graph.operators import Operator, operator_of
from autotune.graph.parts import OutputPart, output_parts
from autotune.graph.prepare import MODEL_FILE, Prepared, digest, prepare
from autotune.graph.values import all_specs, consumers_of, input_specs, opset_of, required_specs, spec_of

ROUNDING = 1e-2
"""Relative to an output's RMS, or as a share of one that holds no floats."""

Origin = tuple[Path, Mapping[str, Sequence[int]], Mapping[str, int]]
"""The file, shapes and dims that a graph was loaded from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUse:
    """A kernel where it stands in a model.

    Args:
        kernel: what it is.
        operators: names of its nodes in the prepared model.
    """

    kernel: Kernel
    operators: tuple[str, ...]


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
    origin: Origin
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

    @cached_property
    def consumers(self) -> Mapping[str, frozenset[int]]:
        """Positions of the nodes that need a tensor, by its name."""
        return consumers_of(self.model.graph.node)

    @cached_property
    def initializers(self) -> Mapping[str, onnx.TensorProto]:
        """Constant tensors by name; the large ones without their values."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def element_types(self) -> Mapping[str, int]:
        """ONNX's number of the element type, by tensor."""
        full = self.model.graph
        found = {
            value.name: value.type.tensor_type.elem_type for value in (*full.value_info, *full.input, *full.output)
        }
        return found | {tensor.name: tensor.data_type for tensor in full.initializer}

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return opset_of(self.model)

    @property
    def flops(self) -> int:
        """Floating-point operations of one inference, 2 per multiply-accumulate."""
        return sum(operator.flops for operator in self.operators)

    def batched(self, size: int) -> Graph:
        """The same model for `size` times as many samples along the first dimension of every input.

        Raises:
            ModelError: it has inputs without a batch dimension, its outputs do not follow, or mix samples.
        """
        graph = self._resized(lambda first: first * size, f"batch{size}")
        _check_batch(self, graph, size)
        return graph

    def single(self, size: int) -> Graph:
        """The same model for one of the `size` parts of its batch.

        Raises:
            ModelError: it has inputs without a batch dimension, or shapes in it were computed for the batch.
        """
        graph = self._resized(lambda first: max(1, first // size), "single")
        _check_batch(graph, self, size)
        return graph

    def _resized(self, first: Callable[[int], int], name: str) -> Graph:
        if not all(spec.shape for spec in self.inputs) or not self.inputs:
            raise ModelError(f"{self.name} has an input without a batch dimension")
        shapes = {spec.name: (first(spec.shape[0]), *spec.shape[1:]) for spec in self.inputs if spec.shape}
        path, _, _ = self.origin  # full shapes say all that the dimensions said
        work = self.path.parent.parent / f"{self.path.parent.name}-{name}"
        return _load(path, work, shapes=shapes, dims={}, replace=True, parent=self)


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
    origin = (path, shapes, dims)
    return assemble(path.stem, prepared, work, origin=origin, parent=parent)


def assemble(name: str, prepared: Prepared, work: Path, *, origin: Origin, parent: Graph | None = None) -> Graph:
    """The graph of a prepared model that lies in `work` with its weights.

    Args:
        name: what to call it.
        prepared: the model.
        work: its folder.
        origin: the file, shapes and dims that it was loaded from.
        parent: the graph that owns the folder, where another does.
    """
    model, source = prepared.model, prepared.source
    _check_ends(origin[0], prepared.inputs, model.graph.output)
    nodes = list(model.graph.node)
    specs = all_specs(model.graph)
    specs |= {spec.name: spec for value in prepared.inputs if (spec := spec_of(value)) is not None}
    outputs = required_specs(model.graph.output, specs)
    names = {value.name for value in model.graph.output}
    found = grouped(model, specs)
    kernels = tuple(
        KernelUse(kernel=kernel, operators=tuple(nodes[at].name for at in group))
        for group, kernel in zip(found.groups, found.kernels, strict=True)
    )
    return Graph(
        name=name,
        path=work / MODEL_FILE,
        source=source,
        model=model,
        groups=found.groups,
        kernels=kernels,
        cuts=find_cuts(found.groups, nodes, specs, names),
        inputs=input_specs(model.graph, specs),
        outputs=outputs,
        specs=specs,
        output_parts=output_parts(outputs, nodes, specs),
        origin=origin,
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


def _check_batch(single: Graph, batch: Graph, size: int) -> None:
    """Runs different samples alone and joined: the batch must give each sample's own outputs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    high = embedding_limits(single)
    feeds = [random_inputs(single.inputs, seed=seed, high=high) for seed in range(size)]
    joined = {name: np.concatenate([sample[name] for sample in feeds]) for name in feeds[0]}
    try:
        alone = ort.InferenceSession(str(single.path), options, providers=["CPUExecutionProvider"])
        each = [alone.run(None, sample) for sample in feeds]
        found = ort.InferenceSession(str(batch.path), options, providers=["CPUExecutionProvider"]).run(None, joined)
    except Exception as error:
        raise ModelError(f"{single.name} cannot run a batch of {size}: {one_line(error)}") from error
    for spec, *own, together in zip(single.outputs, *each, found, strict=True):
        (shape, *others) = {array.shape for array in own}
        if others or not shape or together.shape != (shape[0] * size, *shape[1:]):
            raise ModelError(f"{single.name}: the output {spec.name!r} does not follow a batch of {size}")
        if not _alike(np.concatenate(own), together):
            raise ModelError(f"{single.name}: in a batch of {size} the output {spec.name!r} mixes samples")


def _alike(wanted: np.ndarray, found: np.ndarray) -> bool:
    """Whether outputs differ only as other loops round: the tolerance is kept by comparing on the search's inputs."""
    if wanted.dtype.kind not in "fc":  # a tie may fall to the other side
        return not wanted.size or float(np.mean(wanted != found)) <= ROUNDING
    finite = wanted[np.isfinite(wanted)].astype(np.complex128)
    level = float(np.linalg.norm(finite)) / math.sqrt(max(1, finite.size))
    return np.allclose(found, wanted, rtol=ROUNDING, atol=ROUNDING * level, equal_nan=True)
