"""How good predicted slowdowns are on models that were left out, beside what costs nothing to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.core import CoRunRecord, Signatures
from autotune.errors import PredictorError
from autotune.predictor.evaluation import folds_by_model
from autotune.predictor.slowdown import NeighbourTimes, SlowdownPredictor, measured_pairs
from autotune.predictor.training import Groups

BOOSTED, PRIOR, MEAN, NONE = "boosted", "prior", "mean", "none"
"""Trees on the prior, the prior alone, the mean slowdown for all, no slowdown at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowdownAccuracy:
    """How one way of predicting does, all models left out in turn.

    Args:
        learner: one of `BOOSTED`, `PRIOR`, `MEAN`, `NONE`.
        count: co-runs that were predicted.
        median_error: median relative error of the time beside other work, given the time alone.
        within_10: share predicted within ±10 %.
        p90_error: the error that nine tenths stay under.
    """

    learner: str
    count: int
    median_error: float
    within_10: float
    p90_error: float


def evaluate_slowdowns(
    records: Sequence[CoRunRecord], groups: Groups | None = None, *, seed: int = 0
) -> tuple[SlowdownAccuracy, ...]:
    """Leaves models out, learns from co-runs without any kernel of theirs, predicts those with one.

    Args:
        records: of one device.
        groups: model name -> signatures of its kernels; without two models, kernels are left out in folds.
        seed: of the trees.

    Raises:
        PredictorError: fewer than two co-runs, or nothing is left to learn from.
    """
    pairs = measured_pairs(records)
    signatures = Signatures()
    own = [{signatures.of(kernel) for kernel in (*record.victim, *record.beside)} for record, _ in pairs]
    times = NeighbourTimes(records)
    errors: dict[str, list[float]] = {BOOSTED: [], PRIOR: [], MEAN: [], NONE: []}
    for fold in folds_by_model(sorted(set().union(*own)) if own else [], groups).values():
        rest = [record for (record, _), kernels in zip(pairs, own, strict=True) if not kernels & fold.unseen]
        held = [record for (record, _), kernels in zip(pairs, own, strict=True) if kernels & fold.held]
        if not rest or not held:
            continue
        measured = np.array([result.slowdown for _, result in measured_pairs(held)])
        mean = float(np.mean([result.slowdown for _, result in measured_pairs(rest)]))
        boosted, prior = (
            SlowdownPredictor.fit(rest, seed=seed, trees=trees).of_records(held, times) for trees in (True, False)
        )
        for name, found in ((BOOSTED, boosted), (PRIOR, prior), (MEAN, mean), (NONE, 1.0)):
            errors[name] += np.abs(found / measured - 1).tolist()
    if not errors[NONE]:
        raise PredictorError(
            f"{len(pairs)} co-runs are too few to leave a model out: "
            "run `autotune profile --contention --model yolo --model resnet50`, or with your own models."
        )
    return tuple(_accuracy(name, np.array(found)) for name, found in errors.items())


def _accuracy(name: str, errors: np.ndarray[tuple[int], np.dtype[np.float64]]) -> SlowdownAccuracy:
    return SlowdownAccuracy(
        learner=name,
        count=len(errors),
        median_error=float(np.median(errors)),
        within_10=float(np.mean(errors <= 0.10)),
        p90_error=float(np.percentile(errors, 90)),
    )
