"""Challenger against champion: what new records make of the predictor, judged on models that neither has seen.

What is beyond noise is told by how much the gain differs from model to model, for kernels of a model err alike: the
jackknife over the models left out, and Student's t of so many (Tukey 1958; Miller, "The jackknife: a review",
Biometrika 1974). Two models must gain nearly the same; from one alone nothing follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.core import Device
from autotune.errors import PredictorError
from autotune.predictor.evaluation import Fold, folds_by_model
from autotune.predictor.kernel_predictor import KernelPredictor
from autotune.predictor.learner import Learner, forgetting
from autotune.predictor.training import Groups, Records, TrainingSet, sorted_out

CONFIDENCE = 0.9
LEAST_MODELS = 2
"""From fewer nothing follows about others."""
TOLERATED = 1.05
"""So many times the champion's error is no reason to do without a lane that only the challenger knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """How two predictors do on the same kernels of models left out.

    Args:
        kernels: predictions compared: kernels × lanes that both know.
        models: models left out, or groups of them.
        champion: mean absolute error of the logarithm of latency, about the mean relative error.
        challenger: likewise.
        low: lower end of the 90 % interval of how much lower the challenger's is on models like these.
        high: its upper end.
        new_lanes: lanes that only the challenger knows.
    """

    kernels: int
    models: int
    champion: float
    challenger: float
    low: float
    high: float
    new_lanes: tuple[str, ...]

    @property
    def challenger_wins(self) -> bool:
        """Better beyond noise, or it knows lanes that the champion does not and is about as good on the others."""
        return self.low > 0 or (bool(self.new_lanes) and self.challenger <= TOLERATED * self.champion)


def duel(
    records: Records,
    champions: Records | KernelPredictor,
    groups: Groups | None = None,
    device: Device | None = None,
    *,
    learners: tuple[Learner | None, Learner | None] = (None, None),
    seed: int = 0,
) -> Duel:
    """Both learn from their records without the models left out, then predict those as they are measured now.

    Args:
        records: all there are now; the challenger learns from them.
        champions: those that the champion has learnt from; where they are gone, itself: it is judged as it is, though
            it may know the models left out.
        groups: model name -> signatures of its kernels.
        device: the device.
        learners: the champion's and the challenger's; None is the default.
        seed: of the learners.

    Raises:
        PredictorError: too few records.
    """
    data = sorted_out(records, device)
    known = champions if isinstance(champions, KernelPredictor) else sorted_out(champions, device)
    errors: list[tuple[float, float, int]] = []  # sums of |log error| by fold, and how many
    lanes: set[str] = set()
    old_lanes: set[str] = set()
    for fold in folds_by_model(data.signatures, groups).values():
        champion, challenger = (
            source
            if isinstance(source, KernelPredictor)
            else _fit(source, fold, KernelPredictor(seed=seed, device=device, learner=_unknowing(one, fold)), groups)
            for source, one in zip((known, data), learners, strict=True)
        )
        lanes |= {str(lane) for lane in (challenger.lanes if challenger else ())}
        old_lanes |= {str(lane) for lane in (champion.lanes if champion else ())}
        if champion is None or challenger is None:
            continue
        sums, count = np.zeros(2), 0
        for part in data.lanes:
            held = [i for i, signature in enumerate(part.signatures) if signature in fold.held]
            if not held or part.lane not in champion.lanes or part.lane not in challenger.lanes:
                continue
            kernels, measured = [part.kernels[i] for i in held], part.latency_us[held]
            predicted = np.array(
                [one.predict_us(kernels, part.lane, sentinel_us=part.sentinel_us) for one in (champion, challenger)]
            )
            sums += np.abs(np.log(predicted / measured)).sum(axis=1)
            count += len(held)
        if count:
            errors.append((float(sums[0]), float(sums[1]), count))
    return judge(errors, tuple(sorted(lanes - old_lanes)))


def _unknowing(one: Learner | None, fold: Fold) -> Learner | None:
    return None if one is None else forgetting(one, fold.unseen)


def _fit(data: TrainingSet, fold: Fold, predictor: KernelPredictor, groups: Groups | None) -> KernelPredictor | None:
    try:
        return predictor.fit(data.without(fold.unseen), groups, calibrate=False)
    except PredictorError:
        return None


def judge(errors: Sequence[tuple[float, float, int]], new_lanes: tuple[str, ...] = ()) -> Duel:
    """Who is better beyond noise.

    Args:
        errors: per model left out: sum of the champion's errors, sum of the challenger's, kernels.
        new_lanes: lanes that only the challenger knows.
    """
    if len(errors) < LEAST_MODELS:
        return Duel(kernels=0, models=0, champion=0.0, challenger=0.0, low=0.0, high=0.0, new_lanes=new_lanes)
    from scipy.stats import t

    table = np.array(errors)
    sums, models = table.sum(axis=0), len(table)
    champion, challenger = sums[:2] / sums[2]
    before, after, counts = (sums - table).T  # without each model in turn
    gains = (before - after) / counts
    error = float(np.sqrt((models - 1) * gains.var()))
    margin = error * float(t.ppf((1 + CONFIDENCE) / 2, models - 1))
    gain = float(champion - challenger)
    return Duel(
        kernels=int(sums[2]),
        models=models,
        champion=float(champion),
        challenger=float(challenger),
        low=gain - margin,
        high=gain + margin,
        new_lanes=new_lanes,
    )
