"""How long a kernel will take on a lane, learnt from this device's records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from autotune.core import Device, Kernel, Lane, Prediction, ProfileRecord
from autotune.errors import PredictorError
from autotune.predictor.features import KernelRows
from autotune.predictor.lane_model import LaneModel, TreeSettings, calibration_of, fit_parts, out_of_fold
from autotune.predictor.training import Groups, LaneRecords, TrainingSet, folds_of, predictions, require, training_set

Vector = npt.NDArray[np.float64]


class KernelPredictor:
    """XGBoost on log(latency / roofline), a model per lane; scikit-learn's verbs.

    One model per lane rather than one for the device: lanes run different code, and with hundreds of records each the
    shared one was less accurate (benchmarks/predictor). Fitting is deterministic for a seed and a set of records,
    whatever their order.

    Args:
        seed: of the trees.
        device: checks the records and gives the number of cores; None takes them from the records and this process.
        settings: of the trees.
    """

    kind = "xgboost"

    def __init__(self, *, seed: int = 0, device: Device | None = None, settings: TreeSettings | None = None) -> None:
        self.seed = seed
        self.device = device
        self.settings = settings or TreeSettings()
        self.cores = len(device.cores) if device is not None else os.cpu_count() or 1
        self.device_id = device.id if device is not None else ""
        self.data_hash = ""
        self.models: dict[Lane, LaneModel] = {}
        self._rows = KernelRows()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Lanes with records of their own."""
        return tuple(self.models)

    def fit(
        self, records: Sequence[ProfileRecord], groups: Groups | None = None, *, calibrate: bool = True
    ) -> KernelPredictor:
        """Learn from records; earlier learning is forgotten.

        Args:
            records: of one device; failures are skipped, repeats joined by their median.
            groups: model name -> signatures, so that intervals are calibrated on models left out.
            calibrate: without it intervals are those of the training residuals (too narrow), in a quarter of the time.

        Raises:
            PredictorError: too few records, or of several devices.
        """
        data = training_set(records, self.device)
        require(data)
        with ThreadPoolExecutor(max_workers=min(len(data.lanes), self.cores)) as pool:
            fitted = list(pool.map(lambda part: self._fit_lane(part, groups, calibrate), data.lanes))
        self._take(data, fitted)
        return self

    def _fit_lane(self, part: LaneRecords, groups: Groups | None, calibrate: bool) -> LaneModel:
        unique, inverse = KernelRows().take(part.kernels)
        rows = unique[inverse]
        prior, booster = fit_parts(rows, part.latency_us, part.lane, self.cores, settings=self.settings, seed=self.seed)
        model = LaneModel(
            lane=part.lane, identity=part.identity, records=len(rows), prior=prior, booster=booster,
            calibration=calibration_of(np.zeros(1), rows[:1]),
        )  # fmt: skip
        if calibrate:
            folds = folds_of(part.signatures, groups, self.settings.folds)
            residuals = out_of_fold(
                rows, part.latency_us, folds, part.lane, self.cores, settings=self.settings, seed=self.seed
            )
        else:
            residuals = np.log(part.latency_us / model.predict_us(rows, self.cores))
        return LaneModel(
            lane=part.lane, identity=part.identity, records=len(rows), prior=prior, booster=booster,
            calibration=calibration_of(residuals, rows),
        )  # fmt: skip

    def _take(self, data: TrainingSet, fitted: list[LaneModel]) -> None:
        self.device_id = data.device
        self.data_hash = data.hash
        self.models = {model.lane: model for model in fitted}

    def model_for(self, lane: Lane) -> LaneModel:
        """The model of a lane, or of the most similar one of its processor and precision.

        Raises:
            PredictorError: nothing was learnt of its processor at its precision.
        """
        if lane in self.models:
            return self.models[lane]
        wanted = (lane.processor, lane.precision)
        similar = [model for model in self.models.values() if (model.lane.processor, model.lane.precision) == wanted]
        if not similar:
            known = ", ".join(map(str, self.models)) or "none (fit first)"
            raise PredictorError(
                f"nothing is known of the lane {lane}; learnt: {known}. "
                f"Run `autotune profile --processors {lane.processor}`."
            )
        return min(similar, key=lambda model: (_distance(model.lane, lane), str(model.lane)))

    def predict_us(self, kernels: Sequence[Kernel], lane: Lane) -> Vector:
        """Median latency in µs, one per kernel; equal kernel objects are predicted once."""
        unique, inverse = self._rows.take(kernels)
        result: Vector = self.model_for(lane).predict_us(unique, self.cores)[inverse]
        return result

    def predict(self, kernels: Sequence[Kernel], lane: Lane) -> list[Prediction]:
        """Median and 90 % interval, one per kernel."""
        unique, inverse = self._rows.take(kernels)
        model = self.model_for(lane)
        return predictions(model.predict_us(unique, self.cores)[inverse], model.factor(unique)[inverse])

    def predict_table(self, kernels: Sequence[Kernel], lanes: Sequence[Lane]) -> Vector:
        """Median latency in µs, [kernel, lane]."""
        unique, inverse = self._rows.take(kernels)
        table = np.empty((len(unique), len(lanes)))
        for column, lane in enumerate(lanes):
            table[:, column] = self.model_for(lane).predict_us(unique, self.cores)
        result: Vector = table[inverse]
        return result


def _distance(left: Lane, right: Lane) -> float:
    a, b = left.concurrency, right.concurrency
    threads = abs(np.log2((a.threads or 1) / (b.threads or 1))) + (bool(a.threads) != bool(b.threads))
    return float(
        4 * threads + 2 * abs(a.streams - b.streams) + (a.spinning != b.spinning) + (a.cores != b.cores)
        + (left.options != right.options)
    )  # fmt: skip
