"""Lanes that differ by threads fill each other's gaps."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from autotune.core import Kernel, Lane
from autotune.predictor import KernelPredictor
from autotune.predictor.features import KernelRows
from autotune.predictor.siblings import MOST, Known
from autotune.predictor.training import MIN_RECORDS, LaneRecords, training_set

ONE, TWO = map(Lane.parse, ("cpu/f32/t1", "cpu/f32/t2"))


@pytest.fixture(scope="module")
def kernels(invented: ModuleType) -> list[Kernel]:
    found: list[Kernel] = invented.draw_kernels(120, 3)
    return found


def parts(invented: ModuleType, one: list[Kernel], two: list[Kernel]) -> tuple[LaneRecords, LaneRecords]:
    records = invented.profile(one, [ONE]) + invented.profile(two, [TWO])
    found = {part.lane: part for part in training_set(records).lanes}
    return found[ONE], found[TWO]


def test_what_only_a_sibling_has_measured_is_said_nearly_as_it_would_be_measured(
    invented: ModuleType, kernels: list[Kernel]
) -> None:
    one, two = parts(invented, kernels, kernels[:40])
    rows, latency_us = Known(part=two, siblings=(one,), features=KernelRows()).filled()
    assert len(rows) == len(latency_us) == len(kernels)
    assert latency_us[:40].tolist() == two.latency_us.tolist()
    new = [kernel for kernel, name in zip(one.kernels, one.signatures, strict=True) if name not in two.signatures]
    truth = [invented.true_latency_us(kernel, TWO) for kernel in new]
    assert np.median(np.abs(np.log(latency_us[40:] / truth))) < 0.08


def test_with_few_kernels_in_common_or_enough_of_its_own_nothing_is_filled(
    invented: ModuleType, kernels: list[Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = MIN_RECORDS - 1
    one, two = parts(invented, kernels, kernels[:few])
    known = Known(part=two, siblings=(one,), features=KernelRows())
    assert len(known.filled()[0]) == few < MOST
    one, two = parts(invented, kernels, kernels[:40])
    known = Known(part=two, siblings=(one,), features=KernelRows())
    monkeypatch.setattr("autotune.predictor.siblings.MOST", 60)
    assert len(known.filled()[0]) == 60
    monkeypatch.setattr("autotune.predictor.siblings.MOST", 40)
    assert len(known.filled()[0]) == 40


def test_what_is_left_out_is_left_out_of_siblings_too(invented: ModuleType, kernels: list[Kernel]) -> None:
    one, two = parts(invented, kernels, kernels[:40])
    known = Known(part=two, siblings=(one,), features=KernelRows())
    rest = known.without(frozenset([*two.signatures[:5], *one.signatures[-5:]]))
    assert not {*two.signatures[:5], *one.signatures[-5:]} & {*rest.part.signatures, *rest.siblings[0].signatures}


def test_a_predictor_of_two_threads_learns_from_one(invented: ModuleType, kernels: list[Kernel]) -> None:
    one, two = kernels[:90], kernels[:30]
    records = invented.profile(one, [ONE]) + invented.profile(two, [TWO])
    unseen = kernels[90:]
    truth = np.array([invented.true_latency_us(kernel, TWO) for kernel in unseen])

    def error(predictor: KernelPredictor) -> float:
        return float(np.abs(np.log(predictor.predict_us(unseen, TWO) / truth)).mean())

    alone = KernelPredictor().fit([record for record in records if record.lane == TWO], calibrate=False)
    helped = KernelPredictor().fit(records, calibrate=False)
    assert error(helped) < error(alone)
    assert helped.models[TWO].records == len(two)
