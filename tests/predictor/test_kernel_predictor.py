"""The boosted predictor on the invented device: accuracy, intervals, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from autotune.core import Device, Measurement
from autotune.errors import PredictorError
from autotune.predictor import Groups, KernelPredictor, learner


def test_is_nearly_right_about_kernels_it_never_saw(invented: ModuleType) -> None:
    lane = invented.LANES[1]
    seen, unseen = invented.draw_kernels(300, 1), invented.draw_kernels(600, 2)[300:]
    predictor = KernelPredictor(device=invented.DEVICE).fit(invented.profile(seen, [lane]), calibrate=False)
    truth = np.array([invented.true_latency_us(kernel, lane) for kernel in unseen])
    error = np.abs(predictor.predict_us(unseen, lane) / truth - 1)
    assert (error < 0.1).mean() > 0.85


def test_a_few_wild_measurements_do_not_spoil_their_neighbours(invented: ModuleType) -> None:
    lane = invented.LANES[0]
    seen, unseen = invented.draw_kernels(300, 1), invented.draw_kernels(600, 2)[300:]
    records = invented.profile(seen, [lane])
    wild = [
        replace(
            record, result=Measurement(samples_us=tuple(us * (0.05, 4.0)[at % 2] for us in record.result.samples_us))
        )
        for at, record in enumerate(records[::15])
    ]
    records[::15] = wild
    truth = np.array([invented.true_latency_us(kernel, lane) for kernel in unseen])
    predictor = KernelPredictor().fit(records, calibrate=False)
    assert (np.abs(predictor.predict_us(unseen, lane) / truth - 1) < 0.1).mean() > 0.80


def test_beats_both_baselines_on_unseen_kernels(invented: ModuleType) -> None:
    lane = invented.LANES[2]
    seen, unseen = invented.draw_kernels(200, 1), invented.draw_kernels(500, 2)[200:]
    truth = np.array([invented.true_latency_us(kernel, lane) for kernel in unseen])
    errors = {}
    for name in ("boosted", "flops_linear", "forest_per_family"):
        predictor = KernelPredictor(learner=learner(name)).fit(invented.profile(seen, [lane]), calibrate=False)
        errors[name] = np.mean(np.abs(predictor.predict_us(unseen, lane) / truth - 1))
    assert errors["boosted"] < errors["forest_per_family"]
    assert errors["boosted"] < errors["flops_linear"]


def test_intervals_hold_about_as_often_as_they_say(invented: ModuleType) -> None:
    lane = invented.LANES[0]
    seen, unseen = invented.draw_kernels(200, 1), invented.draw_kernels(500, 2)[200:]
    predictor = KernelPredictor().fit(invented.profile(seen, [lane], noise=0.05))
    measured = [record.result.median_us for record in invented.profile(unseen, [lane], noise=0.05)]
    found = predictor.predict(unseen, lane)
    inside = np.mean([p.low_us <= us <= p.high_us for p, us in zip(found, measured, strict=True)])
    assert 0.82 <= inside <= 0.99


def test_intervals_are_those_of_models_where_enough_are_known(invented: ModuleType) -> None:
    lane = invented.LANES[0]
    kernels = invented.draw_kernels(270, 1)
    signatures = [kernel.signature for kernel in kernels]
    strange = invented.profile(kernels[210:], [lane], noise=2.0)
    records = invented.profile(kernels[:210], [lane], noise=0.02) + strange
    models = {f"m{at}": signatures[70 * at : 70 * at + 70] for at in range(3)}
    drawn = {"drawn from somewhere": signatures[210:]}

    def width(groups: Groups) -> float:
        found = KernelPredictor().fit(records, groups).predict(kernels[:210], lane)
        return float(np.median([one.high_us / one.median_us for one in found]))

    few = {"m0": signatures[:100], "m1": signatures[100:210]}
    assert width(models | drawn) < 0.6 * width(few | drawn)


def test_failures_are_skipped_and_repeats_joined(invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(40, 1), invented.LANES[0]
    records = [invented.record(kernel, lane, launch=launch) for kernel in kernels for launch in (0, 1)]
    records += [invented.failed(kernel, lane) for kernel in invented.draw_kernels(50, 9)]
    assert KernelPredictor().fit(records).records == 40


def test_records_of_a_slow_hour_are_brought_to_the_speed_of_the_others(invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(60, 1), invented.LANES[0]
    usual = [invented.record(kernel, lane) for kernel in kernels]
    notes = usual[0].notes
    even = [replace(one, notes=replace(notes, sentinel_us=100.0)) for one in usual]
    slow = [
        replace(
            one,
            result=Measurement(samples_us=tuple(3 * us for us in one.result.samples_us)),
            notes=replace(notes, sentinel_us=300.0),
        )
        for one in usual[::4]
    ]
    mixed = KernelPredictor().fit([*even, *slow])
    wanted = KernelPredictor().fit(even).predict_us(kernels, lane)
    np.testing.assert_allclose(mixed.predict_us(kernels, lane, sentinel_us=100.0), wanted, rtol=1e-6)
    np.testing.assert_allclose(mixed.predict_us(kernels, lane, sentinel_us=200.0), 2 * wanted, rtol=1e-6)


def test_refuses_records_of_two_devices(invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(40, 1), invented.LANES[0]
    records = [invented.record(k, lane) for k in kernels] + [
        invented.record(k, lane, device="feedfeedfeed") for k in kernels
    ]
    with pytest.raises(PredictorError, match="0123456789ab, feedfeedfeed can't be mixed"):
        KernelPredictor().fit(records)


def test_refuses_records_of_another_device_than_its_own(invented: ModuleType) -> None:
    other = Device(id="feedfeedfeed", name="", system="", machine="", cores=(0,), memory_bytes=1)
    records = invented.profile(invented.draw_kernels(40, 1), invented.LANES[:1])
    with pytest.raises(PredictorError, match="feedfeedfeed"):
        KernelPredictor(device=other).fit(records)


def test_of_two_versions_of_a_provider_only_the_newer_is_learnt_from(invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(60, 1), invented.LANES[0]
    old = [invented.record(kernel, lane) for kernel in kernels]
    new = [invented.record(kernel, lane, version="2.0") for kernel in kernels[:30]]
    predictor = KernelPredictor().fit(old + new)
    assert predictor.records == 30
    assert predictor.models[lane].identity.provider == "cpu 2.0"


def test_nothing_measured_says_what_to_run(invented: ModuleType) -> None:
    with pytest.raises(PredictorError, match="autotune profile"):
        KernelPredictor().fit([invented.failed(kernel, invented.LANES[0]) for kernel in invented.draw_kernels(30, 1)])
    with pytest.raises(PredictorError, match="autotune profile"):
        KernelPredictor().fit([])


def test_predicting_before_fitting_says_so(invented: ModuleType) -> None:
    with pytest.raises(PredictorError, match="fit first"):
        KernelPredictor().predict_us(invented.draw_kernels(1, 1), invented.LANES[0])
