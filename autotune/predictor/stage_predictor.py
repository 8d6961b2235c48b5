"""How long a stage will take, from its kernels: what is paid once per stage comes on top of their marginal costs.

    latency = scale · Σ marginal + call + per_byte_in · bytes in + per_byte_out · bytes out        (per lane)

Additive on purpose: the search adds up prefix sums, so that millions of stages are compared without calling this room.
What is learnt has to earn its place lane by lane, on models left out; where it does not, the defaults stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, log, sqrt

import numpy as np
import numpy.typing as npt

from autotune.core import Lane, Measurement, Prediction, StageRecord
from autotune.predictor.stage_cost import StageCost, default_cost, fit_cost

Vector = npt.NDArray[np.float64]

DEVIATIONS = 1.645
"""Standard deviations that a 90 % interval reaches to either side."""
MARGIN = 0.8
"""Learnt coefficients are taken where their error on models left out is at most this share of that of the defaults."""
LEAST_MODELS = 3
"""Models with stages on a lane from which on what is learnt of it can be judged."""
FOLDS = 10
"""Up to so many models each is left out alone; more share folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stages:
    """Measured stages, one per row.

    Args:
        lanes: [S] where each ran.
        models: [S] which model each belongs to.
        rows: [S, 4] sum of marginal costs, bytes in, bytes out, measured latency.
    """

    lanes: tuple[Lane, ...]
    models: tuple[str, ...]
    rows: Vector

    def keep(self, chosen: Sequence[int]) -> _Stages:
        """Only these rows."""
        lanes, models = tuple(self.lanes[at] for at in chosen), tuple(self.models[at] for at in chosen)
        return _Stages(lanes=lanes, models=models, rows=self.rows[chosen])


class StagePredictor:
    """Stage costs per lane; immutable once fitted.

    Args:
        costs: coefficients of the lanes that were measured.
        pooled: coefficients per processor, for its lanes that were not.
    """

    def __init__(
        self, costs: Mapping[Lane, StageCost] | None = None, pooled: Mapping[str, StageCost] | None = None
    ) -> None:
        self.costs = dict(costs or {})
        self.pooled = dict(pooled or {})

    @staticmethod
    def fit(
        records: Sequence[StageRecord],
        kernel_us: Callable[[Sequence[str], Lane], npt.NDArray[np.float64]],
        *,
        margin: float = MARGIN,
    ) -> StagePredictor:
        """Coefficients from measured stages and whole models; none at all gives the defaults.

        Relative errors are weighed, so that a whole model does not drown its stages, and robustly, so that one
        disturbed measurement does not bend a lane. Each model is left out in turn: a lane takes what is learnt only
        where that lowers the error of models left out (their median), and with under `LEAST_MODELS` models nothing is.

        Args:
            records: of one device; failures are skipped.
            kernel_us: marginal costs (measured where known, else predicted) of kernels given by signature; a stage with
                one that is NaN or infinite teaches nothing and is skipped.
            margin: see `MARGIN`; infinite takes whatever is learnt.
        """
        stages = _stages(records, kernel_us)
        learnt = _learn(stages)
        off = _left_out(stages)
        pooled = {
            name: judged
            for name, cost in learnt.pooled.items()
            if (judged := _judged(cost, default_cost(name), off[name], margin)) is not None
        }
        costs = {
            lane: judged
            for lane, cost in learnt.costs.items()
            if (judged := _judged(cost, default_cost(lane.processor), off[lane], margin)) is not None
        }
        return StagePredictor(costs, pooled)

    def coefficients(self, lane: Lane) -> StageCost:
        """The lane's own, else its processor's, else defaults."""
        own = self.costs.get(lane) or self.pooled.get(lane.processor)
        return own or default_cost(lane.processor)

    def predict_us(
        self, sum_us: npt.ArrayLike, bytes_in: npt.ArrayLike, bytes_out: npt.ArrayLike, lane: Lane
    ) -> Vector:
        """Latency in µs of stages on a lane, from the sums of their kernels' marginal costs; arrays broadcast."""
        return self.coefficients(lane).predict_us(sum_us, bytes_in, bytes_out)

    def predict(
        self, kernels: Sequence[Prediction], bytes_in: int, bytes_out: int, lane: Lane, *, shared: float = 1.0
    ) -> Prediction:
        """Latency of one stage of predicted kernels, with its 90 % interval.

        Two errors add up in squares of logarithms: that of stages whose kernels are known (the lane's
        `relative_spread`), and that of the kernels.

        Args:
            kernels: their predictions; equal ones are of the same kernel and err alike.
            bytes_in: that come in.
            bytes_out: that go out.
            lane: where.
            shared: share of the kernels' squared error that they have in common (`Calibration.shared`): that part adds
                up, the rest cancels out in part.
        """
        cost = self.coefficients(lane)
        sum_us = sum(one.median_us for one in kernels)
        off_us = [times * (one.high_us - one.median_us) for one, times in Counter(kernels).items()]
        spread_us = hypot(sqrt(shared) * sum(off_us), sqrt(1.0 - shared) * hypot(*off_us))
        sums_us = [sum_us, sum_us + spread_us]
        median_us, high_us = cost.predict_us(sums_us, bytes_in, bytes_out).tolist()
        of_kernels = log(high_us / median_us) if median_us > 0 else 0.0
        factor = exp(hypot(DEVIATIONS * cost.relative_spread, of_kernels))
        return Prediction(median_us=median_us, low_us=median_us / factor, high_us=median_us * factor)


def _stages(records: Sequence[StageRecord], kernel_us: Callable[[Sequence[str], Lane], Vector]) -> _Stages:
    """What can be learnt from: measured, of kernels whose costs are all known."""
    found: list[tuple[Lane, str, tuple[float, ...]]] = []
    for record in records:
        if isinstance(record.result, Measurement):
            total = float(np.sum(kernel_us(record.kernels, record.lane)))
            if np.isfinite(total):
                row = (total, float(record.bytes_in), float(record.bytes_out), record.result.median_us)
                found.append((record.lane, record.model_sha256, row))
    rows = np.array([row for *_, row in found]).reshape(-1, 4)
    return _Stages(lanes=tuple(lane for lane, *_ in found), models=tuple(model for _, model, _ in found), rows=rows)


def _learn(stages: _Stages) -> StagePredictor:
    """What the stages say of each processor, and of each lane pulled to its processor."""
    by_lane: dict[Lane, list[int]] = {}
    for at, lane in enumerate(stages.lanes):
        by_lane.setdefault(lane, []).append(at)
    by_processor: dict[str, list[int]] = {}
    for lane, own in by_lane.items():
        by_processor.setdefault(lane.processor, []).extend(own)
    pooled = {name: fit_cost(stages.rows[own], default_cost(name)) for name, own in by_processor.items()}
    costs = {lane: fit_cost(stages.rows[own], pooled[lane.processor]) for lane, own in by_lane.items()}
    return StagePredictor(costs, pooled)


Errors = dict[str, list[tuple[float, float]]]
"""Model -> log(predicted / measured) of each of its stages, by the defaults and by what other models' stages say."""


def _left_out(stages: _Stages) -> dict[Lane | str, Errors]:
    """Errors on models left out, by lane and by processor."""
    number = {model: at % FOLDS for at, model in enumerate(sorted(set(stages.models)))}
    folds = [number[model] for model in stages.models]
    found: dict[Lane | str, Errors] = {}
    for fold in sorted(set(folds)):
        learnt = _learn(stages.keep([at for at, own in enumerate(folds) if own != fold]))
        for at in (at for at, own in enumerate(folds) if own == fold):
            lane, model = stages.lanes[at], stages.models[at]
            default = default_cost(lane.processor)
            for unit, cost in (
                (lane, learnt.coefficients(lane)),
                (lane.processor, learnt.pooled.get(lane.processor, default)),
            ):
                pair = _log_error(default, stages.rows[at]), _log_error(cost, stages.rows[at])
                found.setdefault(unit, {}).setdefault(model, []).append(pair)
    return found


def _log_error(cost: StageCost, row: Vector) -> float:
    sum_us, bytes_in, bytes_out, measured_us = row.tolist()
    return log(max(float(cost.predict_us(sum_us, bytes_in, bytes_out)) / measured_us, 1e-6))


def _judged(learnt: StageCost, default: StageCost, off: Errors, margin: float) -> StageCost | None:
    """The better of both by the median model left out (a few small ones, off by half, must not decide for all).

    None where there are too few to tell.
    """
    if len(off) < LEAST_MODELS:
        return None
    of_default, of_learnt = np.median([np.abs(own).mean(axis=0) for own in off.values()], axis=0).tolist()
    takes = of_learnt <= margin * of_default
    size = np.abs([pair[takes] for own in off.values() for pair in own])
    spread = (1.4826 * float(np.median(size)) * len(size) + default.relative_spread * 2) / (len(size) + 2)
    return replace(learnt if takes else default, relative_spread=spread)
