"""How long a kernel will take on a lane, learnt from this device's records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from autotune.core import Device, Kernel, Lane, Prediction
from autotune.errors import PredictorError
from autotune.predictor.features import KernelRows
from autotune.predictor.lane_model import LaneModel, borrowed, fit_lane
from autotune.predictor.learner import Learner, learner
from autotune.predictor.training import (
    MIN_RECORDS,
    Groups,
    LaneRecords,
    Records,
    predictions,
    require,
    sorted_out,
)

OfLane = TypeVar("OfLane", LaneRecords, LaneModel)
Vector = npt.NDArray[np.float64]


class KernelPredictor:
    """A model per lane; scikit-learn's verbs.

    One model per lane rather than one for the device: lanes run different code. Fitting is deterministic for a seed and
    a set of records. Predicting is thread-safe.

    Args:
        seed: of what is random in learning.
        device: checks the records and gives the number of cores; None takes them from the records and this process.
        learner: gradient-boosted trees unless given; the baselines are others of `LEARNERS`.
    """

    def __init__(self, *, seed: int = 0, device: Device | None = None, learner: Learner | None = None) -> None:
        self.seed = seed
        self.device = device
        self.learner = learner or _default_learner()
        self.cores = len(device.cores) if device is not None else os.cpu_count() or 1
        self.device_id = device.id if device is not None else ""
        self.data_hash = ""
        self._models: dict[Lane, LaneModel] = {}
        self._rows = KernelRows()

    @classmethod
    def restored(
        cls, models: Sequence[LaneModel], *, learner: Learner, seed: int, cores: int, device_id: str, data_hash: str
    ) -> KernelPredictor:
        """A fitted predictor from its parts (`autotune.predictor.load`)."""
        predictor = cls(seed=seed, learner=learner)
        predictor.cores, predictor.device_id, predictor.data_hash = cores, device_id, data_hash
        predictor._models = {model.lane: model for model in models}
        return predictor

    @property
    def models(self) -> Mapping[Lane, LaneModel]:
        """What was learnt, by lane."""
        return self._models

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Lanes with records of their own."""
        return tuple(self._models)

    @property
    def records(self) -> int:
        """Kernels × lanes that it learnt from."""
        return sum(model.records for model in self._models.values())

    def fit(self, records: Records, groups: Groups | None = None, *, calibrate: bool = True) -> KernelPredictor:
        """Learn from records; what was learnt before is forgotten.

        Args:
            records: of one device; failures are skipped, repeats joined by their median. Hundreds of thousands come as
                a training set (`training_columns(store.columns(device=…))`).
            groups: model name -> signatures, so that intervals are calibrated on models left out.
            calibrate: without it intervals are those of the training residuals (too narrow), in a quarter of the time.

        Raises:
            PredictorError: too few records, or of several devices.
        """
        data = sorted_out(records, self.device)
        if max((len(part.kernels) for part in data.lanes), default=0) < getattr(self.learner, "least", MIN_RECORDS):
            require(data)
        rows = KernelRows(limit=data.count)  # lanes share their kernels

        def fitted_to(part: LaneRecords) -> LaneModel:
            siblings = _similar([one for one in data.lanes if one is not part], part.lane)
            return fit_lane(
                part,
                rows,
                self.learner,
                groups,
                siblings=siblings,
                cores=self.cores,
                seed=self.seed,
                calibrated=calibrate,
            )

        with ThreadPoolExecutor(max_workers=min(len(data.lanes), self.cores)) as pool:
            fitted = list(pool.map(fitted_to, data.lanes))
        self.device_id, self.data_hash = data.device, data.hash
        self._models = {model.lane: model for model in fitted}
        return self

    def knows(self, lane: Lane) -> bool:
        """Whether it can predict this lane, by its own records or by those of a similar one."""
        return any(known.kind == lane.kind for known in self._models)

    def model_for(self, lane: Lane) -> LaneModel:
        """The model of a lane, or that of the most similar one of its processor and precision (wider intervals).

        Raises:
            PredictorError: nothing was learnt of its processor at its precision.
        """
        if lane in self._models:
            return self._models[lane]
        if not self.knows(lane):
            known = ", ".join(map(str, self._models)) or "nothing (fit first)"
            raise PredictorError(
                f"nothing is known of the lane {lane}; learnt: {known}. "
                f"Run `autotune profile --model yolo --processors {lane.processor}`, or with your own model."
            )
        return borrowed(_similar(self._models.values(), lane)[0], lane)

    def predict_us(self, kernels: Sequence[Kernel], lane: Lane, *, sentinel_us: float = 0.0) -> Vector:
        """Median latency in µs, one per kernel; equal kernel objects are predicted once.

        Args:
            kernels: what to predict.
            lane: where.
            sentinel_us: what the lane's sentinel takes now; 0 predicts for the speed that the records were measured at.
        """
        unique, inverse = self._rows.take(kernels)
        result: Vector = self.model_for(lane).predict_us(unique, self.cores, sentinel_us)[inverse]
        return result

    def predict(self, kernels: Sequence[Kernel], lane: Lane, *, sentinel_us: float = 0.0) -> list[Prediction]:
        """Median and 90 % interval, one per kernel; arguments as of `predict_us`."""
        unique, inverse = self._rows.take(kernels)
        model = self.model_for(lane)
        median_us = model.predict_us(unique, self.cores, sentinel_us)
        return predictions(median_us[inverse], model.factor(unique)[inverse])

    def predict_table(self, kernels: Sequence[Kernel], lanes: Sequence[Lane]) -> Vector:
        """Median latency in µs, [kernel, lane]."""
        unique, inverse = self._rows.take(kernels)
        table = np.empty((len(unique), len(lanes)))
        for column, lane in enumerate(lanes):
            table[:, column] = self.model_for(lane).predict_us(unique, self.cores)
        result: Vector = table[inverse]
        return result


def _default_learner() -> Learner:
    return learner("boosted")


def _similar(known: Iterable[OfLane], lane: Lane) -> list[OfLane]:
    """What is known of lanes of this one's processor and precision, the most similar first."""
    alike = [one for one in known if one.lane.kind == lane.kind]
    return sorted(alike, key=lambda one: (_distance(one.lane, lane), str(one.lane)))


def _distance(left: Lane, right: Lane) -> float:
    a, b = left.concurrency, right.concurrency
    threads = abs(np.log2((a.threads or 1) / (b.threads or 1))) + (bool(a.threads) != bool(b.threads))
    return float(
        4 * threads + 2 * abs(a.streams - b.streams) + (a.spinning != b.spinning) + (a.cores != b.cores)
        + (left.options != right.options)
    )  # fmt: skip
