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
from autotune.learning.devices import _earlier
from autotune.predictor import KernelPredictor
from autotune.predictor.adapted import ENOUGH, LEAST

DEVICE = Device(id="d", name="New", system="none", machine="x86_64", cores=(0, 1, 2, 3), memory_bytes=2**32)


def test_records_of_other_devices_help(invented: ModuleType) -> None:
    kernels = list(invented.kernels(120).values())
    other = [invented.record(kernel, invented.ONE, device="other") for kernel in kernels]
    own = [invented.record(kernel, invented.ONE) for kernel in kernels[::5]]
    unseen = [kernel for at, kernel in enumerate(kernels) if at % 5]
    truth = np.array([invented.latency_us(kernel, invented.ONE) for kernel in unseen])

    def error(predictor: KernelPredictor) -> float:
        return float(np.abs(np.log(predictor.predict_us(unseen, invented.ONE) / truth)).mean())

    alone = device_predictor(own, DEVICE, calibrate=False)
    helped = device_predictor([*other, *own], DEVICE, calibrate=False)
    assert helped.device_id == "d"
    assert error(helped) < error(alone)


@pytest.mark.parametrize("device", ["other", "d"])
def test_intervals_hold_for_models_that_nobody_has_run(invented: ModuleType, device: str) -> None:
    """Another device, or this one as it was, shares the quirks of kernels: of kernels measured there they are known."""
    kernels = list(invented.kernels(270).values())
    own, known, unseen = kernels[::5], [*kernels[::5], *kernels[1::5]], [*kernels[2::5], *kernels[3::5]]

    def quirky(kernel: Kernel, device: str, slower: float, year: int) -> ProfileRecord:
        quirk = math.exp(random.Random(kernel.signature).gauss(0, 0.3))
        us = slower * quirk * invented.latency_us(kernel, invented.ONE)
        record: ProfileRecord = invented.record(kernel, invented.ONE, device=device)
        return replace(
            record,
            result=Measurement(samples_us=(us,) * 5),
            identity=replace(record.identity, runtime=f"runtime of {year}"),
            notes=replace(record.notes, time=f"{year}-01-01T00:00:00+00:00"),
        )

    def now(kernel: Kernel) -> ProfileRecord:
        return quirky(kernel, "d", 2.5, 2026)

    records = [*(quirky(kernel, device, 1.0, 2025) for kernel in known), *map(now, own)]
    groups = {f"m{at}": [kernel.signature for kernel in own[at::6]] for at in range(6)}
    predictor = device_predictor(records, DEVICE, groups)
    assert predictor.models[invented.ONE].records == len(own)
    found = predictor.predict(unseen, invented.ONE)
    inside = [
        one.low_us <= result.median_us <= one.high_us
        for one, result in zip(found, (now(kernel).result for kernel in unseen), strict=True)
        if isinstance(result, Measurement)
    ]
    assert 0.8 <= sum(inside) / len(inside) <= 0.98


def test_what_a_lane_took_under_an_earlier_runtime_helps_while_few_were_measured_since(invented: ModuleType) -> None:
    kernels = list(invented.kernels().values())

    def records(own: list[Kernel], runtime: str) -> list[ProfileRecord]:
        made = [invented.record(kernel, invented.ONE) for kernel in own]
        return [replace(one, identity=replace(one.identity, runtime=runtime)) for one in made]

    earlier, few = records(kernels, "r 1"), records(kernels[:LEAST], "r 2")
    with pytest.raises(PredictorError, match="20 are needed"):
        device_predictor(few, DEVICE, calibrate=False)
    found = device_predictor([*earlier, *few], DEVICE, calibrate=False).models[invented.ONE]
    assert (found.records, found.identity.runtime) == (LEAST, "r 2")
    enough = records([*kernels * (ENOUGH // len(kernels) + 1)][:ENOUGH], "r 2")
    assert len(_earlier([*earlier, *few])) == len(earlier)
    assert _earlier([*earlier, *enough]) == []


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
