"""What a model would cost on a lane, or a plan on its lanes, kernel by kernel, and why the predictor thinks so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.api.even_times import even, fastest_sentinels, medians_us, newest, stage_predictor
from autotune.api.lane_predictors import Chosen, LanePredictors
from autotune.api.settings import SearchSettings
from autotune.api.task import load_model
from autotune.api.workplace import Workplace, open_workplace
from autotune.core import Lane, Prediction, ProfileRecord, Timing
from autotune.datasets import Store
from autotune.errors import PredictorError, UsageError
from autotune.graph import Graph, load
from autotune.predictor import StagePredictor
from autotune.predictor.explanation import KernelExplanation, describe, explain_kernels
from autotune.runtime import read_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedKernel:
    """One kernel of the model; times are those of the machine at its fastest, as in a search.

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
    """A model, or a stage of one, on a lane.

    Args:
        model: its name; of a stage its file.
        lane: where.
        predictor: version in use, `new` if it was trained for this.
        kernels: in execution order.
        kernels_us: sum of their predicted marginal costs.
        stage_us: all of it as one stage: kernels, entry and exit.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExplanation:
    """A plan, stage by stage.

    Args:
        model: name of the model that it runs.
        stages: each on its own lane, in the order they run.
        device: name of the device on which the search found it.
        predicted: what the search predicted of the whole plan; None where it predicted nothing.
        measured: what it measured then; None where it did not.
    """

    model: str
    stages: tuple[Explanation, ...]
    device: str
    predicted: Timing | None
    measured: Timing | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grounds:
    """What explanations stand on.

    Args:
        chosen: what predicts the kernels of each lane.
        problem: why the predictor in use cannot be read; empty where it can or there is none.
        costs: of stages, by the function that a search takes them from.
        records: of this device, at the fastest speed of their lanes.
        measured_us: medians of them by signature and lane.
        speeds_us: what each lane's sentinel takes then.
    """

    chosen: Mapping[Lane, Chosen]
    problem: str
    costs: StagePredictor
    records: Sequence[ProfileRecord]
    measured_us: Mapping[tuple[str, Lane], float]
    speeds_us: Mapping[Lane, float]


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
    wanted = Lane.parse(lane)
    _check(top)
    with open_workplace(settings.home) as place:
        place.processor(wanted.processor)
        graph, name, _ = load_model(model, settings, place.work)
        return _explained(_grounds(place, [wanted], str(model), settings.seed), graph, name, wanted, top)


def explain_plan(folder: str | Path, settings: SearchSettings | None = None, *, top: int = 5) -> PlanExplanation:
    """The same of every stage of a plan on its lane, beside what the search predicted and measured of the whole.

    Args:
        folder: the plan.
        settings: home folder; the plan has shapes of its own.
        top: how many different kernels of each stage are explained.

    Raises:
        PlanError: the plan is damaged, or is one of several models.
        MissingProcessorError: a processor of the plan is not here.
        PredictorError: too little is known of a lane.
    """
    settings = settings or SearchSettings()
    _check(top)
    plan = read_plan(folder)
    lanes = list(dict.fromkeys(stage.lane for stage in plan.stages))
    with open_workplace(settings.home) as place:
        for lane in lanes:
            place.processor(lane.processor)
        grounds = _grounds(place, lanes, plan.model.name, settings.seed)
        return PlanExplanation(
            model=plan.model.name,
            stages=tuple(
                _explained(grounds, load(Path(folder) / stage.file), stage.file, stage.lane, top)
                for stage in plan.stages
            ),
            device=plan.device.name,
            predicted=plan.predicted,
            measured=plan.measured,
        )


def _check(top: int) -> None:
    if top < 0:
        raise UsageError(f"the number of kernels to explain must be >= 0, got {top}")


def _explained(grounds: _Grounds, graph: Graph, name: str, lane: Lane, top: int) -> Explanation:
    kernels = [use.kernel for use in graph.kernels]
    chosen = grounds.chosen[lane]
    predicted = chosen.predictor.predict(kernels, lane, sentinel_us=grounds.speeds_us.get(lane, 0.0))
    first = {kernel.signature: at for at, kernel in reversed(list(enumerate(kernels)))}  # equal ones are alike
    costly = sorted(first.values(), key=lambda at: -predicted[at].median_us)[:top]
    reasons = explain_kernels(chosen.predictor, [kernels[at] for at in costly], lane, grounds.records)
    by_position = dict(zip(costly, reasons, strict=True))
    ends = (sum(t.bytes for t in graph.inputs), sum(t.bytes for t in graph.outputs))
    shared = chosen.predictor.model_for(lane).calibration.shared
    stage = grounds.costs.predict(predicted, *ends, lane, shared=shared)
    return Explanation(
        model=name,
        lane=lane,
        predictor=chosen.version,
        kernels=tuple(
            ExplainedKernel(
                position=at,
                kernel=describe(use.kernel),
                operators=len(use.operators),
                predicted=predicted[at],
                measured_us=grounds.measured_us.get((use.kernel.signature, lane)),
                explanation=by_position.get(at),
            )
            for at, use in enumerate(graph.kernels)
        ),
        kernels_us=float(sum(one.median_us for one in predicted)),
        stage_us=stage.median_us,
        stage_low_us=stage.low_us,
        stage_high_us=stage.high_us,
        warnings=tuple(filter(None, (grounds.problem, chosen.warning))),
    )


def _grounds(place: Workplace, lanes: Sequence[Lane], model: str, seed: int) -> _Grounds:
    device = place.device
    with Store(place.store_url) as store:
        measured = newest(store.kernels(device=device.id))
        speeds_us = fastest_sentinels(measured)
        records = even(measured, speeds_us)
        measured_us = medians_us(records)
        predictors = LanePredictors(place, store, seed=seed, calibrate=True)
        if not records and predictors.champion is None:
            asked = " ".join(f"--lane {lane}" for lane in lanes)
            raise PredictorError(f"nothing was measured on this device yet: autotune profile --model {model} {asked}")
        return _Grounds(
            chosen={lane: predictors.choose(lane) for lane in lanes},
            problem=predictors.problem,
            costs=stage_predictor(newest(store.stages(device=device.id)), measured_us, speeds_us),
            records=records,
            measured_us=measured_us,
            speeds_us=speeds_us,
        )
