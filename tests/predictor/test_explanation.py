"""A prediction taken apart adds up to the prediction."""

from __future__ import annotations

import json
import math
from types import ModuleType

import numpy as np
import pytest

from autotune.core.codec import encode
from autotune.predictor import LEARNERS, KernelPredictor, learner
from autotune.predictor.adapted import Adapted
from autotune.predictor.explanation import explain_kernels
from autotune.predictor.features import FEATURES


def test_contributions_add_up_to_the_prediction(invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(60, 1), invented.LANES[0]
    records = invented.profile(kernels, [lane])
    predictor = KernelPredictor(device=invented.DEVICE).fit(records, calibrate=False)
    found = explain_kernels(predictor, kernels[:5], lane, records, features=len(FEATURES), neighbours=2)
    for kernel, one in zip(kernels[:5], found, strict=True):
        total = math.log(one.roofline_us or 0) + sum(math.log(part.factor) for part in one.contributions)
        assert math.exp(total) == pytest.approx(float(predictor.predict_us([kernel], lane)[0]), rel=1e-4)
        strength = [abs(math.log(part.factor)) for part in one.contributions]
        assert strength == sorted(strength, reverse=True)
        assert one.neighbours[0].distance == 0.0  # itself
        measured = [record.result.median_us for record in records if record.kernel is kernel]
        np.testing.assert_allclose(one.neighbours[0].latency_us, measured[0])


def test_what_other_devices_say_is_taken_apart_too(invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(60, 1), invented.LANES[0]
    known = KernelPredictor(device=invented.DEVICE).fit(invented.profile(kernels, [lane]), calibrate=False)
    records = [invented.record(kernel, lane, launch=1) for kernel in kernels[:12]]
    predictor = KernelPredictor(learner=Adapted(sources=(known,))).fit(records, calibrate=False)
    assert predictor.models[lane].regressor.blend is not None  # type: ignore[attr-defined]
    found = explain_kernels(predictor, kernels[:5], lane, records, features=len(FEATURES))
    for kernel, one in zip(kernels[:5], found, strict=True):
        assert one.contributions
        total = math.log(one.roofline_us or 0) + sum(math.log(part.factor) for part in one.contributions)
        assert math.exp(total) == pytest.approx(float(predictor.predict_us([kernel], lane)[0]), rel=1e-4)


def test_without_records_of_the_lane_there_are_no_neighbours(invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(30, 1), invented.LANES[0]
    predictor = KernelPredictor(device=invented.DEVICE).fit(invented.profile(kernels, [lane]), calibrate=False)
    (only,) = explain_kernels(predictor, kernels[:1], lane, [])
    assert only.neighbours == ()
    assert only.contributions


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_every_explanation_can_be_written_as_json(invented: ModuleType, name: str) -> None:
    kernels, lane = invented.draw_kernels(60, 1), invented.LANES[0]
    records = invented.profile(kernels, [lane, invented.LANES[1]])
    predictor = KernelPredictor(learner=learner(name)).fit(records, calibrate=False)
    found = explain_kernels(predictor, kernels[:3], lane, records, features=len(FEATURES))
    json.dumps(encode(found), allow_nan=False)
    assert all((one.roofline_us is None) == (not one.contributions) for one in found)
