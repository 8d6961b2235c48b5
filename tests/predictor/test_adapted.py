"""A new device from few records and a known device."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autotune.core import Device, Lane, Measurement, ProfileRecord
from autotune.predictor import KernelPredictor, load, save
from autotune.predictor.adapted import Adapted, Column, adapt
from autotune.predictor.boosted import BoostedTrees
from autotune.predictor.features import kernel_rows
from autotune.predictor.reference import reference_kernels

NEW = "ba9876543210"


def slower(record: ProfileRecord) -> ProfileRecord:
    """The same kernel on another device: 2.5 times slower, depthwise kernels another 1.4 times."""
    assert isinstance(record.result, Measurement)
    factor = 2.5 * (1.4 if record.kernel.family == "depthwise" else 1.0)
    samples = tuple(factor * sample for sample in record.result.samples_us)
    result = replace(record.result, samples_us=samples)
    return replace(record, result=result, identity=replace(record.identity, device=NEW))


@pytest.fixture(scope="module")
def device(invented: ModuleType) -> Device:
    return replace(invented.DEVICE, id=NEW)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def known(invented: ModuleType) -> KernelPredictor:
    return KernelPredictor(device=invented.DEVICE).fit(
        invented.profile(invented.draw_kernels(300, 1), invented.LANES[:1]), calibrate=False
    )


def few(invented: ModuleType, count: int) -> list[ProfileRecord]:
    lane = invented.LANES[0]
    chosen = reference_kernels(invented.draw_kernels(200, 5), count)
    return [slower(invented.record(kernel, lane)) for kernel in chosen]


def error(predictor: KernelPredictor, invented: ModuleType) -> float:
    lane = invented.LANES[0]
    held = [slower(invented.record(kernel, lane, noise=0.0)) for kernel in invented.draw_kernels(100, 9)]
    truth = [record.result.median_us for record in held if isinstance(record.result, Measurement)]
    found = predictor.predict_us([record.kernel for record in held], lane)
    return float(np.mean(np.abs(np.log(found / truth))))


def test_twenty_records_and_a_known_device_beat_twenty_records(
    invented: ModuleType, device: Device, known: KernelPredictor
) -> None:
    records = few(invented, 20)
    own = KernelPredictor(device=device).fit(records, calibrate=False)
    adapted = KernelPredictor(device=device, learner=Adapted(sources=(known,))).fit(records, calibrate=False)
    assert error(adapted, invented) < 0.6 * error(own, invented)
    assert error(adapted, invented) < 0.2


def test_what_no_correction_says_like_kernels_do(invented: ModuleType, device: Device, known: KernelPredictor) -> None:
    """Here images of up to fourteen pixels take twice as long: neither level nor family tells."""

    def odd(record: ProfileRecord) -> ProfileRecord:
        found = slower(record)
        shape = record.kernel.inputs[0].shape or ()
        if len(shape) < 4 or shape[-1] > 14 or not isinstance(found.result, Measurement):
            return found
        return replace(found, result=replace(found.result, samples_us=tuple(2 * us for us in found.result.samples_us)))

    lane, kernels = invented.LANES[0], invented.draw_kernels(120, 5)
    measured = [odd(invented.record(kernel, lane)).result for kernel in kernels]
    log_us = np.log([result.median_us for result in measured if isinstance(result, Measurement)])
    column = Column(regressor=known.models[lane].regressor, lane=lane, cores=2)
    blend = adapt((column,), kernel_rows(kernels), log_us)
    held = [odd(invented.record(kernel, lane, noise=0.0)) for kernel in invented.draw_kernels(100, 9)]
    rows = kernel_rows([record.kernel for record in held])
    truth = np.log([record.result.median_us for record in held if isinstance(record.result, Measurement)])
    found, near = blend.log_us(rows), blend.near.log_factor(rows)
    assert np.mean(np.abs(found - truth)) < 0.6 * np.mean(np.abs(found - near - truth))


def test_a_device_that_is_like_no_known_one_falls_back_to_its_own_records(
    invented: ModuleType, device: Device, known: KernelPredictor
) -> None:
    rng = np.random.default_rng(0)
    records = few(invented, 40)
    strange = [replace(invented.record(record.kernel, record.lane), kernel=record.kernel) for record in records]
    shuffled = [strange[at].result for at in rng.permutation(len(strange))]
    nonsense = [replace(one, result=result) for one, result in zip(strange, shuffled, strict=True)]
    teacher = KernelPredictor(device=invented.DEVICE).fit(nonsense, calibrate=False)
    own = KernelPredictor(device=device).fit(records, calibrate=False)
    adapted = KernelPredictor(device=device, learner=Adapted(sources=(teacher,))).fit(records, calibrate=False)
    kernels, lane = invented.draw_kernels(50, 3), invented.LANES[0]
    assert np.array_equal(adapted.predict_us(kernels, lane), own.predict_us(kernels, lane))


def test_of_two_known_devices_the_one_that_is_alike_counts(
    invented: ModuleType, device: Device, known: KernelPredictor
) -> None:
    lane = invented.LANES[0]
    rng = np.random.default_rng(1)
    records = invented.profile(invented.draw_kernels(100, 1), [lane])
    results = [records[at].result for at in rng.permutation(len(records))]
    nonsense = KernelPredictor().fit(
        [replace(one, result=result) for one, result in zip(records, results, strict=True)], calibrate=False
    )
    both = Adapted(sources=(nonsense, known))
    model = KernelPredictor(device=device, learner=both).fit(few(invented, 20), calibrate=False).models[lane]
    blend = model.regressor.blend  # type: ignore[attr-defined]
    assert blend.weights[1] > 0.9


def test_an_adapted_predictor_is_saved_with_what_it_stands_on(
    invented: ModuleType, device: Device, known: KernelPredictor, tmp_path: Path
) -> None:
    learner = Adapted(sources=(known,), inner=BoostedTrees(rounds=60))
    fitted = KernelPredictor(device=device, learner=learner).fit(few(invented, 20), calibrate=False)
    save(fitted, tmp_path / "p")
    kernels, lane = invented.draw_kernels(30, 2), invented.LANES[0]
    loaded = load(tmp_path / "p", device=device)
    assert np.array_equal(loaded.predict_us(kernels, lane), fitted.predict_us(kernels, lane))
    assert loaded.learner == Adapted(inner=learner.inner)


def test_a_device_that_merely_knows_the_kernels_by_heart_is_not_believed(invented: ModuleType, device: Device) -> None:
    """It is chosen by what it says of models that it has not seen."""
    records, lane = few(invented, 40), invented.LANES[0]
    rng = np.random.default_rng(0)
    results = [records[at].result for at in rng.permutation(len(records))]
    knowing = KernelPredictor().fit(records, calibrate=False)
    unknowing = KernelPredictor().fit(
        [replace(one, result=result) for one, result in zip(records, results, strict=True)], calibrate=False
    )
    groups = {f"m{at}": {record.kernel.signature for record in records[at::4]} for at in range(4)}
    asked: list[set[str]] = []

    def teach(without: Collection[str], where: Lane) -> tuple[KernelPredictor, ...]:
        assert where == lane
        asked.append(set(without))
        return (unknowing,)

    learner = Adapted(sources=(knowing,), teach=teach)
    own = KernelPredictor(device=device).fit(records, calibrate=False)
    adapted = KernelPredictor(device=device, learner=learner).fit(records, groups, calibrate=False)
    assert sorted(map(sorted, asked)) == sorted(map(sorted, groups.values()))
    kernels = invented.draw_kernels(50, 3)
    assert np.array_equal(adapted.predict_us(kernels, lane), own.predict_us(kernels, lane))


def test_what_was_forgotten_stays_forgotten(invented: ModuleType, device: Device, known: KernelPredictor) -> None:
    """Within a fold of an evaluation, the folds of a choice add to what known devices must not know."""
    asked: list[set[str]] = []

    def teach(without: Collection[str], where: Lane) -> tuple[KernelPredictor, ...]:
        asked.append(set(without))
        return (known,)

    learner = Adapted(sources=(known,), teach=teach).forgetting({"left out"})
    KernelPredictor(device=device, learner=learner).fit(few(invented, 20), calibrate=False)
    assert {"left out"} in asked  # what is kept in the end
    assert all("left out" in without for without in asked)
    assert any(len(without) > 1 for without in asked)
