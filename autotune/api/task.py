"""The model to tune with its inputs and reference outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autotune.api.clock import Budget
from autotune.api.samples import (
    REFERENCE_SHARE,
    Outputs,
    Samples,
    drawn_samples,
    reference_outputs,
    stored,
    take_samples,
)
from autotune.api.settings import Metric, SearchSettings
from autotune.core import ModelInfo, OutputError
from autotune.errors import (
    MeasurementError,
    ModelFileError,
    UnknownNameError,
    UnresolvedDimensionError,
    UsageError,
)
from autotune.graph import Graph, load, save_arrays
from autotune.profiler import Worker, compare, squared_errors
from autotune.profiler.compare import BROKEN


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Task:
    """The model to tune.

    Args:
        graph: the model, prepared.
        info: what a plan says of it.
        feeds: npz with one sample, for timing.
        search_samples: those that the search may look at.
        held_out: those that only the final error is measured on; equal to `search_samples` where just one was given.
        real_inputs: whether the inputs are real (given, or the zoo's own).
        warnings: what the user should know.
    """

    graph: Graph
    info: ModelInfo
    feeds: Path
    search_samples: Samples
    held_out: Samples
    real_inputs: bool
    metric: Metric | None
    warnings: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs."""
        return tuple(tensor.name for tensor in self.graph.outputs)

    def error(self, found: Outputs, samples: Samples) -> OutputError:
        """How far outputs are from the reference; a metric that gives NaN or infinity means broken outputs."""
        error = compare(samples.reference, found, self.outputs, self.graph.output_parts)
        if self.metric is None:
            return error
        values = [
            float(self.metric(dict(zip(self.outputs, ref, strict=True)), dict(zip(self.outputs, out, strict=True))))
            for ref, out in zip(samples.reference, found, strict=True)
        ]
        return OutputError(
            relative_rms=max(value if math.isfinite(value) else BROKEN for value in values),
            max_abs=error.max_abs,
            worst_output="metric",
            no_signal=error.no_signal,
        )

    def part_errors(self, found: Outputs, samples: Samples) -> dict[str, float]:
        """Squared relative error by output part."""
        return squared_errors(samples.reference, found, self.outputs, self.graph.output_parts)


def load_model(model: str | Path, settings: SearchSettings, work: Path) -> tuple[Graph, str, str]:
    """The prepared graph of a zoo model or an ONNX file, its name, and what its weights are.

    Raises:
        UnknownNameError: neither a file nor a name of the zoo.
        ModelError: the file cannot be used.
        UsageError: shapes or dims that it cannot have.
    """
    from autotune import models

    path = Path(model)
    if not str(model):
        raise UsageError(f"the model has no name. Give an ONNX file or one of the zoo: {', '.join(models.names())}.")
    if str(model) in models.names():
        zoo = models.get(str(model))
        path = work / f"{model}.onnx"
        models.save(str(model), path, **zoo.sizes_of(settings.shapes))
        return load(path, shapes=settings.shapes, dims=settings.dims, work=work / "model"), str(model), zoo.source
    if not str(model).strip() or not path.exists():
        if path.suffix or "/" in str(model):
            raise ModelFileError(
                f"no such file: {model}. Give an ONNX file or one of the zoo: {', '.join(models.names())}."
            )
        raise UnknownNameError("model", str(model), known=models.names(), hint="Or give the path of an ONNX file.")
    return _loaded(path, settings, work / "model"), path.stem, ""


def _loaded(path: Path, settings: SearchSettings, work: Path) -> Graph:
    """The graph; dimensions that nothing else gives a value have that of the inputs given."""
    from autotune import models

    try:
        return load(path, shapes=settings.shapes, dims=settings.dims, work=work)
    except UnresolvedDimensionError as error:
        settled = models.settled_shapes(settings.inputs[0], error.inputs) if settings.inputs else {}
        if not settled:
            raise
    return load(path, shapes={**settled, **settings.shapes}, dims=settings.dims, work=work)


def prepare_task(
    model: str | Path,
    settings: SearchSettings,
    work: Path,
    worker: Worker,
    budget: Budget,
    *,
    hold: Callable[[], None],
) -> Task:
    """Loads the model, its inputs, and runs the reference on as many of them as the budget allows.

    Args:
        model: of the zoo, or a file.
        settings: of the search.
        work: folder of this task's files.
        worker: runs the reference.
        budget: of the search.
        hold: keeps the device for this search, before anything runs on it.

    Raises:
        ModelError, UsageError, InputError: the model or the inputs cannot be used.
        BadReferenceError: NaN or infinity in the reference outputs.
    """
    with budget.phase("load"):
        graph, name, source = load_model(model, settings, work)
    samples, real, warnings = take_samples(graph, name if source else "", settings)
    if real and len(samples) == 1:
        warnings.append("only one sample of real inputs: the final error is measured on the one the search used.")
    hold()
    most_s = REFERENCE_SHARE * budget.total_s
    with budget.phase("reference"):
        try:
            outputs = reference_outputs(graph, samples, work, worker, most_s=most_s, real=real)
        except MeasurementError:
            if real or not any("int" in spec.dtype for spec in graph.inputs):
                raise
            samples = drawn_samples(graph, settings, dict.fromkeys((spec.name for spec in graph.inputs), 1))
            outputs = reference_outputs(graph, samples, work, worker, most_s=most_s, real=real)
            warnings.append("integer inputs are all 0: the model does not take other random ones.")
    if real and len(outputs) < len(samples):
        warnings.append(f"the budget has time to compare outputs on {len(outputs)} of {len(samples)} samples only.")
    half = max(1, (len(outputs) + 1) // 2)
    search = stored(samples[:half], outputs[:half], work / "search_samples.npz")
    rest = samples[half : len(outputs)]
    held_out = stored(rest, outputs[half:], work / "held_out.npz") if rest else search
    feeds = work / "feeds.npz"
    save_arrays(feeds, samples[0])
    info = ModelInfo(name=name, sha256=graph.sha256, inputs=graph.inputs, outputs=graph.outputs, source=source)
    return Task(
        graph=graph,
        info=info,
        feeds=feeds,
        search_samples=search,
        held_out=held_out,
        real_inputs=real,
        metric=settings.metric,
        warnings=tuple(warnings),
    )
