"""Inputs that outputs are compared on, and the reference's outputs on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotune.api.settings import PrecisionPolicy, SearchSettings
from autotune.core import DEFAULT_LANE, Failure
from autotune.errors import BadReferenceError, InputError, MeasurementError
from autotune.graph import Graph, embedding_limits, random_inputs, save_arrays
from autotune.profiler import Job, JobStage, Worker, run_outputs

Outputs = list[list[np.ndarray]]
"""[sample][output]"""

REFERENCE_DEADLINE_S = 600.0
REFERENCE_SHARE = 0.1
"""Of the budget; every precision of every processor is compared on the same samples later."""
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


def take_samples(
    graph: Graph, zoo_name: str, settings: SearchSettings
) -> tuple[list[dict[str, np.ndarray]], bool, list[str]]:
    """The user's inputs, the zoo's own or random ones; whether they are real; what the user should know."""
    from autotune import models

    if settings.inputs:
        given = models.load_inputs(settings.inputs, graph.inputs)
        if not given:
            raise InputError(f"no sample in {', '.join(map(str, settings.inputs))}")
        return list(given), True, []
    if zoo_name:
        return list(models.sample_inputs(zoo_name, graph.inputs, count=ZOO_SAMPLES, seed=settings.seed)), True, []
    drawn = drawn_samples(graph, settings, embedding_limits(graph))
    text = "random inputs (give --inputs FILE.npz for real ones)"
    if settings.precision is PrecisionPolicy.AUTO:
        text += ": nothing below float32 is taken; --precision any takes it all the same"
    return drawn, False, [text + "."]


def drawn_samples(graph: Graph, settings: SearchSettings, high: Mapping[str, int]) -> list[dict[str, np.ndarray]]:
    """Random samples whose integers stay below `high`."""
    return [random_inputs(graph.inputs, seed=settings.seed + at, high=high) for at in range(RANDOM_SAMPLES)]


def stored(samples: Sequence[Mapping[str, np.ndarray]], reference: Outputs, path: Path) -> Samples:
    """Writes inputs where workers read them."""
    save_arrays(path, {name: np.stack([sample[name] for sample in samples]) for name in samples[0]})
    return Samples(path=path, reference=reference)


def reference_outputs(
    graph: Graph, samples: Sequence[Mapping[str, np.ndarray]], work: Path, worker: Worker, *, most_s: float, real: bool
) -> Outputs:
    """Outputs of the reference on the first samples, at least two, that `most_s` seconds are enough for."""
    path = stored(samples, [], work / "samples.npz").path
    job = Job(
        name="reference",
        stages=(JobStage(file=str(graph.source), lane=DEFAULT_LANE),),
        outputs=tuple(tensor.name for tensor in graph.outputs),
        feeds=str(path),
    )
    outputs = run_outputs(job, str(path), deadline_s=REFERENCE_DEADLINE_S, worker=worker, most_s=most_s)
    path.unlink()
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
    return outputs


def _is_bad(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and not bool(np.isfinite(array).all())
