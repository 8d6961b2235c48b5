"""How good predictors are on models that they have not seen, beside the baselines and the noise of measuring."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.core import Device, Lane
from autotune.core.codec import encode
from autotune.errors import PredictorError
from autotune.predictor.kernel_predictor import KernelPredictor
from autotune.predictor.learner import Learner, forgetting, learner
from autotune.predictor.training import (
    MIN_RECORDS,
    PROFILE_S,
    Groups,
    LaneRecords,
    Records,
    TrainingSet,
    folds_of,
    models_of,
    sorted_out,
    unseen_without,
)

if TYPE_CHECKING:
    import pandas as pd

Vector = npt.NDArray[np.float64]

RETEST = "test_retest"
"""Name of the noise ceiling: a second measurement as if it were a prediction of the first."""
MAX_FOLDS = 5
"""Up to so many models each is left out alone; more share folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How one learner does on one lane, all models left out in turn.

    Args:
        learner: name in `LEARNERS`, or `test_retest`.
        lane: the lane's text, `all` for all of them together.
        count: kernels that were predicted.
        within_5: share predicted within ±5 % of the measurement.
        within_10: share within ±10 %.
        mape: mean absolute relative error.
        spearman: rank correlation; 0 where fewer than three kernels were predicted.
        coverage: share inside the 90 % interval, None where intervals were not asked for.
    """

    learner: str
    lane: str
    count: int
    within_5: float
    within_10: float
    mape: float
    spearman: float
    coverage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Accuracy per learner and lane.

    Args:
        device: the device's identifier.
        folds: what was left out together, as text.
        rows: learners × lanes, then the same over all lanes.
    """

    device: str
    folds: tuple[str, ...]
    rows: tuple[Accuracy, ...]

    def get(self, learner: str = "boosted", lane: Lane | str = "all") -> Accuracy:
        """One row.

        Raises:
            KeyError: there is none, for instance no kernel was measured twice.
        """
        for row in self.rows:
            if (row.learner, row.lane) == (learner, str(lane)):
                return row
        raise KeyError(f"{learner} on {lane}")

    def frame(self) -> pd.DataFrame:
        """All rows as a table."""
        import pandas as pd

        return pd.DataFrame([encode(row) for row in self.rows])

    def card(self) -> dict[str, Any]:
        """As JSON values, for the predictor's card."""
        return {"folds": list(self.folds), "rows": [encode(row) for row in self.rows]}


COMPARED = ("boosted", "flops_linear", "forest_per_family")
"""Learners that an evaluation sets beside each other; a committee is one of them several times over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A kernel of a model left out, predicted without that model.

    Args:
        learner: name in `LEARNERS`, or `test_retest`.
        lane: the lane's text.
        family: of the kernel.
        signature: of the kernel.
        measured_us: what it takes.
        predicted_us: what was predicted.
        low_us: lower end of the 90 % interval.
        high_us: its upper end.
        fold: what was left out with it, a model where there are few; empty of `test_retest`.
    """

    learner: str
    lane: str
    family: str
    signature: str
    measured_us: float
    predicted_us: float
    low_us: float = 0.0
    high_us: float = 0.0
    fold: str = ""

    @property
    def covered(self) -> bool:
        """Whether the measurement lies inside the interval."""
        return self.low_us <= self.measured_us <= self.high_us


def evaluate(
    records: Records,
    groups: Groups | None = None,
    device: Device | None = None,
    *,
    learners: Sequence[str | Learner] = COMPARED,
    coverage: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Leave models out, learn from the rest, predict them.

    A kernel of a model that is left out is never learnt from, though another model has it too. Synthetic kernels are
    never predicted, and learnt from unless they were drawn from the model left out or its kin (`unseen_without`).
    Without two models, kernels are left out one by one.

    Args:
        records: of one device; kernels measured more than once give the noise ceiling.
        groups: as `Store.groups` gives them.
        device: the device.
        learners: which to compare, by name or as they are.
        coverage: calibrate intervals and count how often they hold (takes four times as long).
        seed: of the learners.

    Raises:
        PredictorError: too few records to learn from what remains.
    """
    data = sorted_out(records, device)
    folds = folds_by_model(data.signatures, groups)
    held = left_out(data, groups, device, learners=learners, coverage=coverage, seed=seed) + retested(data)
    found: dict[tuple[str, str], list[Held]] = {}
    for one in held:
        found.setdefault((one.learner, one.lane), []).append(one)
    rows = [accuracy(pairs, lane=lane, coverage=coverage) for (_, lane), pairs in sorted(found.items())]
    rows += [
        accuracy([one for one in held if one.learner == name], lane="all", coverage=coverage)
        for name in dict.fromkeys(one.learner for one in held)
    ]
    return Evaluation(device=data.device, folds=tuple(folds), rows=tuple(rows))


def left_out(
    records: Records,
    groups: Groups | None = None,
    device: Device | None = None,
    *,
    learners: Sequence[str | Learner] = COMPARED,
    coverage: bool = False,
    seed: int = 0,
) -> list[Held]:
    """Every kernel of the models, predicted by each learner without its model; arguments and errors: see `evaluate`."""
    data = sorted_out(records, device)
    folds = folds_by_model(data.signatures, groups)
    chosen = [learner(one) if isinstance(one, str) else one for one in learners]
    held: list[Held] = []
    trained = 0
    for name, fold in folds.items():
        rest = data.without(fold.unseen)
        for one in chosen:
            predictor = KernelPredictor(seed=seed, device=device, learner=forgetting(one, fold.unseen))
            try:
                predictor.fit(rest, groups, calibrate=coverage)
            except PredictorError:
                continue
            trained += 1
            for part in data.lanes:
                if part.lane in predictor.lanes:
                    held += held_out(predictor, part, fold.held, learner=one.name, name=name)
    if not trained:
        raise PredictorError(
            f"{data.count} records in {len(folds)} parts are too few to leave one of them out and learn from the rest: "
            f"{MIN_RECORDS} kernels of a lane must remain. Profile more models, or synthetic kernels "
            f"(`autotune profile --model yolo --synthetic 100`, about {PROFILE_S} s per kernel and lane)."
        )
    return held


def held_out(
    predictor: KernelPredictor, part: LaneRecords, held: Collection[str], *, learner: str, name: str = ""
) -> list[Held]:
    """The kernels held out on one lane: as measured, and as predicted.

    Args:
        predictor: which knows the lane.
        part: what was measured there.
        held: signatures of the kernels.
        learner: what to call it.
        name: of the fold.
    """
    at = [i for i, signature in enumerate(part.signatures) if signature in held]
    kernels = [part.kernels[i] for i in at]
    if not at:
        return []
    return [
        Held(
            learner=learner,
            lane=str(part.lane),
            family=part.kernels[i].family,
            signature=part.signatures[i],
            measured_us=float(part.latency_us[i]),
            predicted_us=prediction.median_us,
            low_us=prediction.low_us,
            high_us=prediction.high_us,
            fold=name,
        )
        for i, prediction in zip(at, predictor.predict(kernels, part.lane, sentinel_us=part.sentinel_us), strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What is left out together.

    Args:
        held: signatures of the kernels that are predicted.
        unseen: of those that are not learnt from, measured on this device or another: these, and what was drawn from
            the same architectures.
    """

    held: frozenset[str]
    unseen: frozenset[str]


def folds_by_model(signatures: Sequence[str], groups: Groups | None) -> dict[str, Fold]:
    """What is left out together: a model, several where there are many, or kernels where there are no two models."""
    groups, present = groups or {}, frozenset(signatures)
    models = {name: held for name, own in models_of(groups).items() if (held := present.intersection(own))}
    if len(models) < 2:
        numbers = folds_of(signatures, None, MAX_FOLDS)
        parts = [frozenset(s for s, at in zip(signatures, numbers, strict=True) if at == n) for n in range(MAX_FOLDS)]
        return {f"fold {n}": Fold(held=part, unseen=part) for n, part in enumerate(parts) if part}
    names = sorted(models)
    joined = [[name] for name in names]
    if len(models) > 2 * MAX_FOLDS:
        names.sort(key=lambda name: -len(models[name]))
        joined = [names[first::MAX_FOLDS] for first in range(MAX_FOLDS)]
    return {
        "+".join(together): Fold(
            held=frozenset().union(*(models[name] for name in together)),
            unseen=frozenset(unseen_without(groups, together)),
        )
        for together in joined
    }


def retested(data: TrainingSet) -> list[Held]:
    """Kernels measured more than once: each measurement as if the next one were its prediction."""
    return [
        Held(
            learner=RETEST,
            lane=str(part.lane),
            family=part.kernels[at].family,
            signature=part.signatures[at],
            measured_us=first_us,
            predicted_us=second_us,
        )
        for part in data.lanes
        for at, (first_us, second_us) in zip(part.repeated.tolist(), part.repeats_us.tolist(), strict=True)
    ]


def accuracy(pairs: Sequence[Held], *, lane: str, coverage: bool = False) -> Accuracy:
    """How one learner does on these kernels; `lane` is the row's name."""
    from scipy.stats import rankdata

    measured = np.array([pair.measured_us for pair in pairs])
    predicted = np.array([pair.predicted_us for pair in pairs])
    error = np.abs(predicted / measured - 1)
    ranks = np.vstack([rankdata(measured), rankdata(predicted)])
    varied = len(pairs) > 2 and bool((np.ptp(ranks, axis=1) > 0).all())
    inside = float(np.mean([pair.covered for pair in pairs]))
    return Accuracy(
        learner=pairs[0].learner,
        lane=lane,
        count=len(pairs),
        within_5=float(np.mean(error <= 0.05)),
        within_10=float(np.mean(error <= 0.10)),
        mape=float(np.mean(error)),
        spearman=float(np.corrcoef(ranks)[0, 1]) if varied else 0.0,
        coverage=inside if coverage and pairs[0].learner != RETEST else None,
    )
