"""Stage costs: what is paid once per stage comes back out of measured stages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from autotune.core import Failure, FailureKind, Lane, Measurement, Notes, Prediction, StageRecord
from autotune.predictor import StagePredictor
from autotune.predictor.stage_cost import DEFAULT_COSTS, StageCost

CPU, OPENVINO = Lane.parse("cpu/f32/t2"), Lane.parse("openvino:cpu/bf16/t2")
TRUTH = {
    CPU: StageCost(scale=1.2, call_us=8.0, per_byte_in_us=2e-5, per_byte_out_us=2e-5, relative_spread=0),
    OPENVINO: StageCost(scale=0.9, call_us=120.0, per_byte_in_us=1e-4, per_byte_out_us=2e-4, relative_spread=0),
}


def kernel_us(signatures: Sequence[str], lane: Lane) -> np.ndarray:
    return np.array([float(signature) for signature in signatures])


def stages(
    invented: ModuleType,
    lane: Lane,
    *,
    count: int,
    noise: float,
    seed: int = 0,
    truth: StageCost | None = None,
    levels: Sequence[float] = (1.0,) * 5,
) -> list[StageRecord]:
    """Stages of as many models as there are levels, in turns; a model's stages all take its level times longer."""
    rng = random.Random(seed)
    cost = truth or TRUTH[lane]
    found = []
    for number in range(count):
        kernels = tuple(str(rng.uniform(20, 300)) for _ in range(rng.choice((5, 10, 20, 80))))
        bytes_in, bytes_out = rng.randrange(10**4, 10**6), rng.randrange(10**4, 10**6)
        model = number % len(levels)
        clean = levels[model] * float(cost.predict_us(kernel_us(kernels, lane).sum(), bytes_in, bytes_out))
        samples = tuple(clean * np.exp(rng.gauss(0, noise)) for _ in range(3))
        found.append(
            StageRecord(
                model_sha256=f"m{model}", start=number, stop=number + len(kernels), kernels=kernels, bytes_in=bytes_in,
                bytes_out=bytes_out, lane=lane, result=Measurement(samples_us=samples),
                identity=invented.identity_of(lane), notes=Notes(time="", code_version=""),
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("lane", [CPU, OPENVINO], ids=str)
def test_finds_the_coefficients(invented: ModuleType, lane: Lane) -> None:
    predictor = StagePredictor.fit(stages(invented, lane, count=40, noise=0.01), kernel_us)
    found, truth = predictor.coefficients(lane), TRUTH[lane]
    assert found.scale == pytest.approx(truth.scale, abs=0.05)
    assert found.call_us == pytest.approx(truth.call_us, abs=30)
    fresh = stages(invented, lane, count=40, noise=0, seed=1)
    measured = [record.result.median_us for record in fresh if isinstance(record.result, Measurement)]
    sums = [kernel_us(record.kernels, lane).sum() for record in fresh]
    predicted = predictor.predict_us(sums, [r.bytes_in for r in fresh], [r.bytes_out for r in fresh], lane)
    assert np.median(np.abs(predicted / measured - 1)) < 0.02


def test_a_disturbed_stage_does_not_bend_a_lane(invented: ModuleType) -> None:
    records = stages(invented, OPENVINO, count=30, noise=0.01)
    clean = StagePredictor.fit(records, kernel_us).coefficients(OPENVINO)
    wild = [stages(invented, OPENVINO, count=1, noise=0, seed=s)[0] for s in (5, 6)]
    disturbed = [
        StageRecord(**{f: getattr(r, f) for f in StageRecord.__slots__} | {"result": Measurement(samples_us=(1e5,))})
        for r in wild
    ]
    bent = StagePredictor.fit(records + disturbed, kernel_us).coefficients(OPENVINO)
    assert (clean.records, bent.records) == (30, 32)
    assert bent.scale == pytest.approx(clean.scale, rel=0.03)


def test_without_records_there_are_defaults() -> None:
    predictor = StagePredictor.fit([], kernel_us)
    assert predictor.coefficients(CPU) == DEFAULT_COSTS["cpu"]
    assert predictor.coefficients(OPENVINO) == DEFAULT_COSTS["openvino"]
    assert predictor.coefficients(Lane.parse("qnn:npu/f16")).records == 0


def test_a_lane_never_seen_takes_its_processors_coefficients(invented: ModuleType) -> None:
    predictor = StagePredictor.fit(stages(invented, OPENVINO, count=30, noise=0.01), kernel_us)
    other = predictor.coefficients(Lane.parse("openvino:cpu/f32/t1"))
    assert other == predictor.pooled["openvino:cpu"]
    assert other.records == 30


@pytest.mark.parametrize("models", [1, 2])
def test_with_under_three_models_nothing_is_taken(invented: ModuleType, models: int) -> None:
    records = stages(invented, OPENVINO, count=20, noise=0.01, levels=(1.0,) * models)
    assert StagePredictor.fit(records, kernel_us).coefficients(OPENVINO) == DEFAULT_COSTS["openvino"]


def test_a_level_that_other_models_do_not_share_is_not_taken(invented: ModuleType) -> None:
    default = DEFAULT_COSTS["openvino"]
    records = stages(invented, OPENVINO, count=40, noise=0.01, truth=default, levels=(0.7, 1.4, 0.7, 1.4))
    found = StagePredictor.fit(records, kernel_us).coefficients(OPENVINO)
    assert replace(found, relative_spread=default.relative_spread) == default
    assert found.relative_spread > 0.4, "what the defaults are off by on these models"
    always = StagePredictor.fit(records, kernel_us, margin=float("inf")).coefficients(OPENVINO)
    assert always.records == 40


def test_each_lane_is_judged_by_its_own_models(invented: ModuleType) -> None:
    unlike = stages(invented, CPU, count=40, noise=0.01, truth=DEFAULT_COSTS["cpu"], levels=(0.7, 1.4, 0.7, 1.4))
    predictor = StagePredictor.fit([*unlike, *stages(invented, OPENVINO, count=40, noise=0.01)], kernel_us)
    assert [predictor.coefficients(lane).records for lane in (CPU, OPENVINO)] == [0, 40]


def test_a_model_with_many_stages_does_not_decide_for_the_others(invented: ModuleType) -> None:
    default = DEFAULT_COSTS["cpu"]
    many = stages(invented, CPU, count=200, noise=0.0, truth=replace(default, scale=1.5), levels=(1.0,))
    few = stages(invented, CPU, count=8, noise=0.0, truth=default, seed=1, levels=(1.0,) * 5)[1:]
    assert StagePredictor.fit([*many, *few], kernel_us).coefficients(CPU).scale == default.scale


def test_the_spread_is_that_of_models_left_out(invented: ModuleType) -> None:
    levels = (1.3, 1.4, 1.5, 1.6, 1.7)
    found = StagePredictor.fit(stages(invented, CPU, count=50, noise=0.0, levels=levels), kernel_us).coefficients(CPU)
    assert found.records == 50
    assert 0.07 < found.relative_spread < 0.25


def test_failures_and_unknown_kernels_teach_nothing(invented: ModuleType) -> None:
    record = stages(invented, CPU, count=1, noise=0)[0]
    values = {field: getattr(record, field) for field in StageRecord.__slots__}
    failed = StageRecord(**values | {"result": Failure(kind=FailureKind.HANG, message="")})
    unknown = StageRecord(**values | {"kernels": ("nan", "3.0")})
    assert StagePredictor.fit([failed, unknown], kernel_us).coefficients(CPU) == DEFAULT_COSTS["cpu"]


def test_costs_are_additive_and_never_negative(invented: ModuleType) -> None:
    found = StagePredictor.fit(stages(invented, CPU, count=8, noise=0.3), kernel_us).coefficients(CPU)
    assert min(found.scale, found.call_us, found.per_byte_in_us, found.per_byte_out_us) >= 0
    both, zero = found.predict_us([30.0, 50.0], 10, 10), found.predict_us(0.0, 10, 10)
    assert both.sum() - zero == pytest.approx(float(found.predict_us(80.0, 10, 10)))


def test_nine_in_ten_stages_are_inside_their_interval(invented: ModuleType) -> None:
    predictor = StagePredictor.fit(stages(invented, CPU, count=200, noise=0.1), kernel_us)
    inside = []
    for record in stages(invented, CPU, count=200, noise=0.1, seed=1):
        kernels = [Prediction(median_us=us, low_us=us, high_us=us) for us in kernel_us(record.kernels, CPU)]
        found = predictor.predict(kernels, record.bytes_in, record.bytes_out, CPU)
        assert isinstance(record.result, Measurement)
        inside.append(found.low_us <= record.result.median_us <= found.high_us)
    assert 0.82 <= np.mean(inside) <= 0.97


def test_kernels_that_are_not_known_widen_the_interval_of_their_stage() -> None:
    known, guessed = (Prediction(median_us=1e4, low_us=1e4 / factor, high_us=1e4 * factor) for factor in (1.0, 1.5))
    narrow, wide = (StagePredictor().predict([one, one], 10, 10, CPU) for one in (known, guessed))
    assert wide.median_us == narrow.median_us == float(StagePredictor().predict_us(2e4, 10, 10, CPU))
    assert wide.low_us < narrow.low_us < narrow.high_us < wide.high_us
    assert wide.high_us > 1.5 * narrow.median_us


def test_errors_that_kernels_do_not_share_cancel_out_in_part() -> None:
    kernels = [Prediction(median_us=1e4 + at, low_us=5e3, high_us=2e4 + at) for at in range(16)]
    alike = [kernels[0]] * 16

    def reach_us(given: Sequence[Prediction], shared: float) -> float:
        exact = StagePredictor({CPU: replace(DEFAULT_COSTS["cpu"], relative_spread=0.0)})
        found = exact.predict(given, 0, 0, CPU, shared=shared)
        return found.high_us - found.median_us

    assert reach_us(kernels, 1.0) == pytest.approx(16e4)
    assert reach_us(kernels, 0.0) == pytest.approx(4e4)
    assert reach_us(kernels, 0.25) == pytest.approx((0.25 * 16e4**2 + 0.75 * 4e4**2) ** 0.5)
    assert reach_us(alike, 0.0) == pytest.approx(16e4)  # one kernel, sixteen times
