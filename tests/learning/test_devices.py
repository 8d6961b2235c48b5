"""The predictor of a device in a store that holds records of others."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autotune.core import Device, Kernel, Measurement, ProfileRecord
from autotune.datasets import Store
from autotune.errors import PredictorError
from autotune.learning import device_predictor, records_for
from autotune.predictor import KernelPredictor

DEVICE = Device(id="d", name="New", system="none", machine="x86_64", cores=(0, 1, 2, 3), memory_bytes=2**32)


def test_records_of_other_devices_help(invented: ModuleType) -> None:
    kernels = list(invented.kernels().values())
    other = [invented.record(kernel, invented.ONE, device="other") for kernel in kernels]
    own = [invented.record(kernel, invented.ONE) for kernel in kernels[::3]]
    unseen = [kernel for at, kernel in enumerate(kernels) if at % 3]
    truth = np.array([invented.latency_us(kernel, invented.ONE) for kernel in unseen])

    def error(predictor: KernelPredictor) -> float:
        return float(np.abs(np.log(predictor.predict_us(unseen, invented.ONE) / truth)).mean())

    alone = device_predictor(own, DEVICE, calibrate=False)
    helped = device_predictor([*other, *own], DEVICE, calibrate=False)
    assert helped.device_id == "d"
    assert error(helped) < error(alone)


def test_intervals_hold_for_models_that_no_device_has_run(invented: ModuleType) -> None:
    """Both devices share the quirks of kernels: of kernels measured elsewhere they are known, of others not."""
    kernels = list(invented.kernels(270).values())
    own, known, unseen = kernels[::5], [*kernels[::5], *kernels[1::5]], [*kernels[2::5], *kernels[3::5]]

    def quirky(kernel: Kernel, device: str, slower: float) -> ProfileRecord:
        quirk = math.exp(random.Random(kernel.signature).gauss(0, 0.3))
        us = slower * quirk * invented.latency_us(kernel, invented.ONE)
        record: ProfileRecord = invented.record(kernel, invented.ONE, device=device)
        return replace(record, result=Measurement(samples_us=(us,) * 5))

    records = [*(quirky(kernel, "other", 1.0) for kernel in known), *(quirky(kernel, "d", 2.5) for kernel in own)]
    groups = {f"m{at}": [kernel.signature for kernel in own[at::6]] for at in range(6)}
    predictor = device_predictor(records, DEVICE, groups)
    found = predictor.predict(unseen, invented.ONE)
    truth = [quirky(kernel, "d", 2.5).result for kernel in unseen]
    inside = [
        one.low_us <= result.median_us <= one.high_us
        for one, result in zip(found, truth, strict=True)
        if isinstance(result, Measurement)
    ]
    assert 0.8 <= sum(inside) / len(inside) <= 0.98


def test_without_own_records_it_is_refused(invented: ModuleType) -> None:
    other = [invented.record(kernel, invented.ONE, device="other") for kernel in invented.kernels().values()]
    with pytest.raises(PredictorError, match="no measured kernels"):
        device_predictor(other, replace(DEVICE), calibrate=False)


def test_other_devices_are_read_only_while_a_lane_has_few_records(
    invented: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = list(invented.kernels(10).values())
    with Store(f"sqlite:///{tmp_path / 'p.db'}") as store:
        store.add([invented.record(kernel, invented.ONE, device="other") for kernel in kernels])
        store.add([invented.record(kernel, invented.ONE) for kernel in kernels[:5]])
        assert store.devices() == {"other": 10, "d": 5}
        assert len(records_for(store, DEVICE)) == 15
        monkeypatch.setattr("autotune.learning.devices.ENOUGH", 5)
        assert {record.identity.device for record in records_for(store, DEVICE)} == {"d"}
