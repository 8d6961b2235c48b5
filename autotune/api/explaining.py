"""What a model would cost on a lane, kernel by kernel, and why the predictor thinks so."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotune.api.lane_predictors import LanePredictors
from autotune.api.settings import SearchSettings
from autotune.api.task import load_model
from autotune.api.workplace import open_workplace
from autotune.core import Lane, Measurement, Prediction
from autotune.datasets import Store
from autotune.errors import PredictorError, UsageError
from autotune.predictor import StagePredictor
from autotune.predictor.explanation import KernelExplanation, describe, explain_kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedKernel:
    """One kernel of the model.

    Args:
        position: in execution order.
        kernel: what it is.
        operators: how many operators it holds.
        predicted: marginal cost in µs with its 90 % interval.
        measured_us: where this device has measured it on this lane.
        explanation: only for the most expensive ones.
    """

    position: int
    kernel: str
    operators: int
    predicted: Prediction
    measured_us: float | None
    explanation: KernelExplanation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A model on a lane.

    Args:
        model: its name.
        lane: where.
        predictor: version in use, `new` if it was trained for this.
        kernels: in execution order.
        kernels_us: sum of their predicted marginal costs.
        stage_us: the whole model as one stage: kernels, entry and exit.
        stage_low_us: lower end of its 90 % interval.
        stage_high_us: upper end.
        warnings: what makes it a guess.
    """

    model: str
    lane: Lane
    predictor: str
    kernels: tuple[ExplainedKernel, ...]
    kernels_us: float
    stage_us: float
    stage_low_us: float
    stage_high_us: float
    warnings: tuple[str, ...]


def explain(model: str | Path, lane: str, settings: SearchSettings | None = None, *, top: int = 5) -> Explanation:
    """Predicts every kernel of a model on a lane and takes the most expensive predictions apart.

    Args:
        model: a name of the zoo or an ONNX file.
        lane: for instance `cpu/f32/t2`.
        settings: shapes, dimensions, home folder.
        top: how many different kernels are explained.

    Raises:
        UsageError: no lane of that name can be.
        MissingProcessorError: the lane's processor is not here.
        PredictorError: too little is known of the lane.
    """
    settings = settings or SearchSettings()
    if top < 0:
        raise UsageError(f"the number of kernels to explain must be >= 0, got {top}")
    wanted = Lane.parse(lane)
    with open_workplace(settings.home) as place, tempfile.TemporaryDirectory() as work:
        place.processor(wanted.processor)
        graph, name, _ = load_model(model, settings, Path(work))
        with Store(place.store_url) as store:
            records = store.kernels(device=place.device.id)
            stages = store.stages(device=place.device.id)
            predictors = LanePredictors(place, store, groups=store.groups(), seed=settings.seed)
            if not records and predictors.champion is None:
                raise PredictorError(
                    f"nothing was measured on this device yet: autotune profile --model {model} --lane {lane}"
                )
            chosen = predictors.choose(wanted)
        uses = graph.kernels
        kernels = [use.kernel for use in uses]
        predicted = chosen.predictor.predict(kernels, wanted)
        known = {
            record.kernel.signature: record.result.median_us
            for record in records
            if record.lane == wanted and isinstance(record.result, Measurement)
        }
        first = {kernel.signature: at for at, kernel in reversed(list(enumerate(kernels)))}  # equal ones are alike
        costly = sorted(first.values(), key=lambda at: -predicted[at].median_us)[:top]
        reasons = explain_kernels(chosen.predictor, [kernels[at] for at in costly], wanted, records)
        by_position = dict(zip(costly, reasons, strict=True))
        costs = StagePredictor.fit(stages, lambda s, at: np.array([_known(known, at, wanted, x) for x in s]))
        ends = (sum(t.bytes for t in graph.inputs), sum(t.bytes for t in graph.outputs))
        stage = costs.predict(predicted, *ends, wanted)
        return Explanation(
            model=name,
            lane=wanted,
            predictor=chosen.version,
            kernels=tuple(
                ExplainedKernel(
                    position=at,
                    kernel=describe(use.kernel),
                    operators=len(use.operators),
                    predicted=predicted[at],
                    measured_us=known.get(use.kernel.signature),
                    explanation=by_position.get(at),
                )
                for at, use in enumerate(uses)
            ),
            kernels_us=float(sum(one.median_us for one in predicted)),
            stage_us=stage.median_us,
            stage_low_us=stage.low_us,
            stage_high_us=stage.high_us,
            warnings=tuple(filter(None, (predictors.problem, chosen.warning))),
        )


def _known(known: dict[str, float], at: Lane, wanted: Lane, signature: str) -> float:
    """Marginal costs of the lane in question; stages of other lanes teach nothing here."""
    return known.get(signature, math.nan) if at == wanted else math.nan
