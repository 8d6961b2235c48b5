"""What every learner in the registry must do, behind the one predictor."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autotune.core import Lane
from autotune.errors import PredictorError, UnknownNameError
from autotune.predictor import LEARNERS, MIN_RECORDS, KernelPredictor, learner, load, save

pytestmark = pytest.mark.parametrize("name", sorted(LEARNERS), scope="module")


@pytest.fixture(scope="module")
def fitted(name: str, invented: ModuleType) -> KernelPredictor:
    records = invented.profile(invented.draw_kernels(60, 1), invented.LANES[:2])
    return KernelPredictor(seed=3, device=invented.DEVICE, learner=learner(name)).fit(records)


def test_predicts_one_positive_latency_per_kernel(fitted: KernelPredictor, invented: ModuleType) -> None:
    kernels = invented.draw_kernels(30, 2)
    found = fitted.predict_us([*kernels, kernels[0]], invented.LANES[0])
    assert found.shape == (31,)
    assert (found > 0).all()
    assert found[0] == found[30]


def test_table_and_list_agree(fitted: KernelPredictor, invented: ModuleType) -> None:
    kernels = invented.draw_kernels(10, 2)
    table = fitted.predict_table(kernels, fitted.lanes)
    assert table.shape == (10, 2)
    for column, lane in enumerate(fitted.lanes):
        assert np.array_equal(table[:, column], fitted.predict_us(kernels, lane))
        assert [p.median_us for p in fitted.predict(kernels, lane)] == table[:, column].tolist()


def test_no_kernels_give_no_predictions(fitted: KernelPredictor) -> None:
    assert fitted.predict_us([], fitted.lanes[0]).shape == (0,)
    assert fitted.predict([], fitted.lanes[0]) == []


def test_is_deterministic_whatever_the_order_of_records(
    name: str, fitted: KernelPredictor, invented: ModuleType
) -> None:
    records = invented.profile(invented.draw_kernels(60, 1), invented.LANES[:2])
    again = KernelPredictor(seed=3, device=invented.DEVICE, learner=learner(name)).fit(records[::-1])
    kernels = invented.draw_kernels(30, 2)
    assert np.array_equal(again.predict_table(kernels, fitted.lanes), fitted.predict_table(kernels, fitted.lanes))
    assert again.data_hash == fitted.data_hash


def test_loaded_predictor_equals_the_saved_one(fitted: KernelPredictor, invented: ModuleType, tmp_path: Path) -> None:
    kernels = invented.draw_kernels(30, 2)
    save(fitted, tmp_path / "p")
    loaded = load(tmp_path / "p", device=invented.DEVICE)
    for lane in fitted.lanes:
        assert loaded.predict(kernels, lane) == fitted.predict(kernels, lane)
    assert loaded.lanes == fitted.lanes


def test_learns_more_than_the_mean(fitted: KernelPredictor, invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(100, 7), invented.LANES[0]
    truth = np.array([invented.true_latency_us(kernel, lane) for kernel in kernels])
    error = np.abs(np.log(fitted.predict_us(kernels, lane) / truth))
    assert np.median(error) < 0.25 * np.median(np.abs(np.log(truth / np.median(truth))))


def test_refuses_too_few_records_and_says_how_many_are_needed(name: str, invented: ModuleType) -> None:
    records = invented.profile(invented.draw_kernels(MIN_RECORDS - 1, 1), invented.LANES[:1])
    with pytest.raises(PredictorError, match=f"{MIN_RECORDS - 1} .* {MIN_RECORDS} are needed"):
        KernelPredictor(learner=learner(name)).fit(records)


def test_serves_a_lane_with_few_records_beside_one_with_many(name: str, invented: ModuleType) -> None:
    kernels, (many, few) = invented.draw_kernels(60, 1), invented.LANES[:2]
    records = invented.profile(kernels, [many]) + invented.profile(kernels[:4], [few])
    predictor = KernelPredictor(learner=learner(name)).fit(records)
    assert (predictor.predict_us(kernels, few) > 0).all()


def test_an_unseen_lane_borrows_from_its_processor(fitted: KernelPredictor, invented: ModuleType) -> None:
    kernels = invented.draw_kernels(5, 2)
    near, seen = Lane.parse("cpu/f32/t2/nospin"), Lane.parse("cpu/f32/t2")
    assert fitted.knows(near)
    assert np.array_equal(fitted.predict_us(kernels, near), fitted.predict_us(kernels, seen))
    for wide, narrow in zip(fitted.predict(kernels, near), fitted.predict(kernels, seen), strict=True):
        assert wide.high_us > narrow.high_us


def test_refuses_a_processor_it_never_saw(fitted: KernelPredictor, invented: ModuleType) -> None:
    with pytest.raises(PredictorError, match="webgpu:gpu/f32; learnt: cpu/f32/t1, cpu/f32/t2"):
        fitted.predict_us(invented.draw_kernels(1, 2), Lane.parse("webgpu:gpu/f32"))


def test_settings_are_saved_and_come_back(name: str, invented: ModuleType, tmp_path: Path) -> None:
    fields = {field.name: field.default for field in dataclasses.fields(learner(name))}  # type: ignore[arg-type]
    settings = {key: value + 1 for key, value in fields.items() if isinstance(value, int)}
    other = learner(name, settings)
    assert (other == learner(name)) == (not settings)
    records = invented.profile(invented.draw_kernels(MIN_RECORDS, 1), invented.LANES[:1])
    save(KernelPredictor(learner=other).fit(records, calibrate=False), tmp_path / "p")
    assert load(tmp_path / "p").learner == other


def test_learns_from_repeats_of_one_kernel(name: str, invented: ModuleType) -> None:
    records = invented.profile(invented.draw_kernels(MIN_RECORDS, 1), invented.LANES[:1]) * 2
    assert KernelPredictor(learner=learner(name)).fit(records).records == MIN_RECORDS


def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match=name):
        learner(name + "x")
