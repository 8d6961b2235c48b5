"""The model to tune with its inputs and reference outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotune.api.settings import Metric, PrecisionPolicy, SearchSettings
from autotune.core import DEFAULT_LANE, Failure, ModelInfo, OutputError
from autotune.errors import (
    BadReferenceError,
    InputError,
    MeasurementError,
    ModelFileError,
    UnknownNameError,
    UsageError,
)
from autotune.graph import Graph, embedding_limits, load, random_inputs, save_arrays
from autotune.profiler import Job, JobStage, Worker, compare, run_outputs, squared_errors

Outputs = list[list[np.ndarray]]
"""[sample][output]"""

REFERENCE_DEADLINE_S = 600.0
ZOO_SAMPLES = 8
RANDOM_SAMPLES = 4


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Samples:
    """Inputs on which outputs are compared, and the outputs of the reference on them.

    Args:
        path: npz with a leading sample axis.
        reference: outputs of ONNX Runtime's CPU provider at float32, [sample][output].
    """

    path: Path
    reference: Outputs


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
        """How far outputs are from the reference."""
        error = compare(samples.reference, found, self.outputs, self.graph.output_parts)
        if self.metric is None:
            return error
        values = [
            float(self.metric(dict(zip(self.outputs, ref, strict=True)), dict(zip(self.outputs, out, strict=True))))
            for ref, out in zip(samples.reference, found, strict=True)
        ]
        return OutputError(
            relative_rms=max(values), max_abs=error.max_abs, worst_output="metric", no_signal=error.no_signal
        )

    def part_errors(self, found: Outputs, samples: Samples) -> dict[str, float]:
        """Squared relative error by output part."""
        return squared_errors(samples.reference, found, self.outputs, self.graph.output_parts)


def load_model(model: str | Path, settings: SearchSettings, work: Path) -> tuple[Graph, str, str]:
    """The prepared graph of a zoo model or an ONNX file, its name, and what its weights are.

    Raises:
        UnknownNameError: neither a file nor a name of the zoo.
        ModelError: the file cannot be used.
    """
    from autotune import models

    path = Path(model)
    if not str(model):
        raise UsageError(f"the model has no name. Give an ONNX file or one of the zoo: {', '.join(models.names())}.")
    if str(model) in models.names():
        import onnx

        zoo = models.get(str(model))
        path = work / f"{model}.onnx"
        onnx.save(models.build(str(model)), str(path))
        return load(path, shapes=settings.shapes, dims=settings.dims, work=work / "model"), str(model), zoo.source
    if not str(model).strip() or not path.exists():
        if path.suffix or "/" in str(model):
            raise ModelFileError(
                f"no such file: {model}. Give an ONNX file or one of the zoo: {', '.join(models.names())}."
            )
        raise UnknownNameError("model", str(model), known=models.names(), hint="Or give the path of an ONNX file.")
    return load(path, shapes=settings.shapes, dims=settings.dims, work=work / "model"), path.stem, ""


def prepare_task(model: str | Path, settings: SearchSettings, work: Path, worker: Worker) -> Task:
    """Loads the model, its inputs, and runs the reference on them.

    Raises:
        ModelError, UsageError, InputError: the model or the inputs cannot be used.
        BadReferenceError: NaN or infinity in the reference outputs.
    """
    graph, name, source = load_model(model, settings, work)
    samples, real, warnings = _samples(graph, name if source else "", settings)
    half = max(1, (len(samples) + 1) // 2)
    if real and len(samples) == 1:
        warnings.append("only one sample of real inputs: the final error is measured on the one the search used.")
    try:
        search = _with_reference(graph, samples[:half], work / "search_samples.npz", worker, real=real)
    except MeasurementError:
        if real or not any("int" in spec.dtype for spec in graph.inputs):
            raise
        samples = _drawn(graph, settings, dict.fromkeys((spec.name for spec in graph.inputs), 1))
        search = _with_reference(graph, samples[:half], work / "search_samples.npz", worker, real=real)
        warnings.append("integer inputs are all 0: the model does not take other random ones.")
    rest = samples[half:]
    held_out = _with_reference(graph, rest, work / "held_out.npz", worker, real=real) if rest else search
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


def _samples(
    graph: Graph, zoo_name: str, settings: SearchSettings
) -> tuple[list[dict[str, np.ndarray]], bool, list[str]]:
    from autotune import models

    if settings.inputs:
        given = models.load_inputs(settings.inputs, graph.inputs)
        if not given:
            raise InputError(f"no sample in {', '.join(map(str, settings.inputs))}")
        return list(given), True, []
    if zoo_name:
        return list(models.sample_inputs(zoo_name, graph.inputs, count=ZOO_SAMPLES, seed=settings.seed)), True, []
    drawn = _drawn(graph, settings, embedding_limits(graph))
    text = "random inputs (give --inputs FILE.npz for real ones)"
    if settings.precision is PrecisionPolicy.AUTO:
        text += ": nothing below float32 is taken; --precision any takes it all the same"
    return drawn, False, [text + "."]


def _drawn(graph: Graph, settings: SearchSettings, high: Mapping[str, int]) -> list[dict[str, np.ndarray]]:
    """Random samples whose integers stay below `high`."""
    return [random_inputs(graph.inputs, seed=settings.seed + at, high=high) for at in range(RANDOM_SAMPLES)]


def _with_reference(
    graph: Graph, samples: Sequence[Mapping[str, np.ndarray]], path: Path, worker: Worker, *, real: bool
) -> Samples:
    save_arrays(path, {name: np.stack([sample[name] for sample in samples]) for name in samples[0]})
    job = Job(
        name="reference",
        stages=(JobStage(file=str(graph.source), lane=DEFAULT_LANE),),
        outputs=tuple(tensor.name for tensor in graph.outputs),
        feeds=str(path),
    )
    outputs = run_outputs(job, str(path), deadline_s=REFERENCE_DEADLINE_S, worker=worker)
    if isinstance(outputs, Failure):
        hint = "" if real else " The inputs were random: give ones that the model takes with --inputs FILE.npz."
        raise MeasurementError(
            f"ONNX Runtime's CPU provider cannot run {graph.name}: {outputs.message.rstrip('.')}.{hint}"
        )
    for name, at in ((tensor.name, at) for at, tensor in enumerate(graph.outputs)):
        if any(_is_bad(sample[at]) for sample in outputs):
            bad = sorted({given for sample in samples for given, array in sample.items() if _is_bad(array)})
            reason = f" (so does the input {', '.join(bad)})" if bad else ""
            raise BadReferenceError(
                f"the reference output {name!r} holds NaN or infinity{reason}, so nothing can be compared with it. "
                "Give inputs on which the model is healthy: --inputs FILE.npz"
            )
    return Samples(path=path, reference=outputs)


def _is_bad(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and not bool(np.isfinite(array).all())
