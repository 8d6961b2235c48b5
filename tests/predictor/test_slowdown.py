"""Slowdowns of an invented device: sharing of bandwidth, and a level of its own for each kind of pair."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autotune.core import CoRunMeasurement, CoRunRecord, Failure, FailureKind, Kernel, Lane, Notes
from autotune.errors import PredictorError
from autotune.predictor import Load, SlowdownPredictor, evaluate_slowdowns, load_slowdown, save_slowdown

CPU, OTHER, OPENVINO = map(Lane.parse, ("cpu/f32/t1/c0", "cpu/f32/t1/c1", "openvino:cpu/f32/t1/c1"))


def truth(victim: float, beside: float, other: Lane) -> float:
    """From bytes per µs of both sides; what a neighbour on OpenVINO does, it does to everything."""
    return (1.15 if other == OPENVINO else 1.0) + 0.8 * victim / (victim + 8e3) * beside / (beside + 8e3)


def rate(kernel: Kernel, us: float) -> float:
    return (kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes) / us


def records(
    invented: ModuleType, kernels: Sequence[Kernel], count: int, *, noise: float = 0.01, device: str = ""
) -> list[CoRunRecord]:
    rng = random.Random(0)
    found = []
    for _ in range(count):
        one, two = rng.choice(kernels), rng.choice(kernels)
        other = rng.choice((OTHER, OPENVINO))
        us = {k: invented.true_latency_us(k, CPU) for k in (one, two)}
        pair = ((one, CPU, two, other), (two, other, one, CPU))
        for victim, own, beside, its in pair:
            slow = truth(rate(victim, us[victim]), rate(beside, us[beside]), its) * math.exp(rng.gauss(0, noise))
            result = CoRunMeasurement(alone_us=(us[victim],) * 3, beside_us=(us[victim] * slow,) * 3)
            identity = invented.identity_of(own, **({"device": device} if device else {}))
            notes = Notes(time="2026-01-01T00:00:00Z", code_version="0")
            found.append(
                CoRunRecord(
                    victim=(victim,), victim_lane=own, beside=(beside,), beside_lane=its, result=result,
                    identity=identity, notes=notes,
                )
            )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def kernels(invented: ModuleType) -> list[Kernel]:
    return list(invented.draw_kernels(60, seed=1))


def test_it_learns_what_pairs_do_to_each_other(invented: ModuleType, kernels: list[Kernel]) -> None:
    predictor = SlowdownPredictor.fit(records(invented, kernels, 200))
    fresh = records(invented, invented.draw_kernels(30, seed=9), 60, noise=0.0)
    errors, plain = [], []
    for one in fresh:
        assert isinstance(one.result, CoRunMeasurement)
        us = invented.true_latency_us(one.beside[0], CPU)
        victim = Load(kernels=one.victim, us=one.result.alone_median_us)
        found = predictor.predict(victim, one.victim_lane, Load(kernels=one.beside, us=us), one.beside_lane)
        errors.append(abs(found / one.result.slowdown - 1))
        plain.append(one.result.slowdown - 1)
    assert np.median(errors) < 0.03 < np.median(plain)


def test_without_records_it_says_something_and_never_less_than_one(invented: ModuleType) -> None:
    predictor = SlowdownPredictor.fit([])
    loads = [Load(kernels=(k,), us=invented.true_latency_us(k, CPU)) for k in invented.draw_kernels(10, seed=3)]
    table = predictor.table(loads, CPU, loads[:4], OTHER)
    assert table.shape == (10, 4)
    assert table.min() >= 1.0
    assert table.max() < 1.6


def test_noise_below_one_is_no_speedup(invented: ModuleType, kernels: list[Kernel]) -> None:
    faster = [
        replace(one, result=CoRunMeasurement(alone_us=(10.0,), beside_us=(9.5,)))
        for one in records(invented, kernels, 60)
    ]
    predictor = SlowdownPredictor.fit(faster)
    loads = [Load(kernels=(k,), us=10.0) for k in kernels]
    assert predictor.table(loads, CPU, loads, OTHER).min() >= 1.0


def test_few_records_set_the_level_of_their_kind_only(invented: ModuleType, kernels: list[Kernel]) -> None:
    few = records(invented, kernels, 8)
    predictor = SlowdownPredictor.fit(few)
    assert predictor.booster is None
    light = Load(kernels=(invented.addition(8, 4),), us=100.0)
    beside = [predictor.predict(light, CPU, light, lane) for lane in (OTHER, OPENVINO)]
    assert beside[1] > beside[0] + 0.03


def test_a_measurement_with_a_wide_interval_teaches_little(invented: ModuleType, kernels: list[Kernel]) -> None:
    good = records(invented, kernels, 20)
    disturbed = [
        replace(one, result=CoRunMeasurement(alone_us=(10.0, 11.0, 12.0, 60.0), beside_us=(90.0, 10.0, 95.0, 12.0)))
        for one in records(invented, kernels, 5)
    ]
    light = Load(kernels=(invented.addition(8, 4),), us=100.0)
    found = [SlowdownPredictor.fit(some).predict(light, CPU, light, OTHER) for some in (good, [*good, *disturbed])]
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_failures_teach_nothing(invented: ModuleType, kernels: list[Kernel]) -> None:
    good = records(invented, kernels, 40)
    failed = [replace(one, result=Failure(kind=FailureKind.CRASH, message="signal 11")) for one in good]
    assert SlowdownPredictor.fit(failed).records == 0
    assert SlowdownPredictor.fit([*good, *failed]).data_hash == SlowdownPredictor.fit(good).data_hash


def test_records_of_two_devices_are_refused(invented: ModuleType, kernels: list[Kernel]) -> None:
    with pytest.raises(PredictorError, match="2 devices"):
        SlowdownPredictor.fit(records(invented, kernels, 5) + records(invented, kernels, 5, device="feedfeedfeed"))


def test_what_is_loaded_predicts_the_same_to_the_bit(
    invented: ModuleType, kernels: list[Kernel], tmp_path: Path
) -> None:
    predictor = SlowdownPredictor.fit(records(invented, kernels, 80))
    assert predictor.booster is not None
    folder = save_slowdown(predictor, save_slowdown(SlowdownPredictor(), tmp_path / "slowdown"))
    loads = [Load(kernels=(k,), us=10.0) for k in kernels]
    loaded = load_slowdown(folder)
    assert (loaded.records, loaded.data_hash) == (predictor.records, predictor.data_hash)
    assert np.array_equal(loaded.table(loads, CPU, loads, OPENVINO), predictor.table(loads, CPU, loads, OPENVINO))


@pytest.mark.parametrize("harm", ["gone", "no json", "version", "trees"])
def test_a_damaged_folder_is_named(invented: ModuleType, kernels: list[Kernel], tmp_path: Path, harm: str) -> None:
    folder = save_slowdown(SlowdownPredictor.fit(records(invented, kernels, 80)), tmp_path / "slowdown")
    card = folder / "card.json"
    if harm == "gone":
        card.unlink()
    elif harm == "no json":
        card.write_text("{")
    elif harm == "version":
        card.write_text(json.dumps(json.loads(card.read_text()) | {"schema_version": 99}))
    else:
        (folder / "trees.ubj").write_bytes(b"nothing")
    with pytest.raises(PredictorError, match=r"slowdown.*delete the folder"):
        load_slowdown(folder)


def test_on_models_left_out_it_beats_what_costs_nothing(invented: ModuleType) -> None:
    models = {f"m{at}": invented.draw_kernels(15, seed=20 + at) for at in range(4)}
    found = [record for kernels in models.values() for record in records(invented, kernels, 60)]
    groups = {name: [kernel.signature for kernel in kernels] for name, kernels in models.items()}
    rows = {row.learner: row for row in evaluate_slowdowns(found, groups)}
    assert rows["boosted"].count == rows["none"].count >= len(found)  # some kernels are in two models
    cheap = min(rows["mean"].median_error, rows["none"].median_error)
    assert rows["boosted"].median_error < cheap / 2
    assert rows["prior"].median_error < cheap


def test_too_few_records_to_leave_a_model_out_are_named(invented: ModuleType, kernels: list[Kernel]) -> None:
    with pytest.raises(PredictorError, match="0 co-runs are too few"):
        evaluate_slowdowns([])
    one = records(invented, kernels[:2], 1)
    with pytest.raises(PredictorError, match="too few"):
        evaluate_slowdowns(one, {"a": [kernels[0].signature], "b": [kernels[1].signature]})
