"""Calibrated costs agree with measured segments."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.api.calibration import CUT_LEVEL_RANGE, SegmentTimes, calibrate
from autotune.core import TensorSpec
from autotune.graph import Cut
from autotune.planning.costs import LaneCost


def cuts(count: int, size: int = 1000) -> list[Cut]:
    tensor = TensorSpec(name="t", dtype="float32", shape=(size // 4,))
    return [Cut(position=at, legal=True, tensors=(tensor,), bytes=size) for at in range(count + 1)]


def test_the_whole_is_reproduced_and_cuts_go_half_way_to_what_segments_say() -> None:
    kernel_us = np.array([10.0, 20.0, 30.0, 40.0])
    segments = SegmentTimes(spans=((0, 2), (2, 4)), times_us=(50.0, 100.0), whole_us=130.0)
    cost = LaneCost(call_us=10.0, per_byte_in_us=0.0, per_byte_out_us=0.0)
    fitted_us, fitted = calibrate(kernel_us, cost, segments, cuts=cuts(4), model_bytes=(0, 0), overhead=1.0)
    assert fitted.call_us == pytest.approx((10.0 * 20.0) ** 0.5)
    assert fitted_us.sum() + fitted.call_us == pytest.approx(130.0)
    assert fitted_us[:2].sum() / fitted_us[2:].sum() == pytest.approx(
        (50.0 - fitted.call_us) / (100.0 - fitted.call_us)
    )


def test_without_segments_only_the_overhead_changes() -> None:
    kernel_us = np.array([1.0, 2.0])
    cost = LaneCost(call_us=10.0, per_byte_in_us=0.1, per_byte_out_us=0.2)
    same, fitted = calibrate(kernel_us, cost, None, cuts=cuts(2), model_bytes=(0, 0), overhead=2.0)
    assert list(same) == [1.0, 2.0]
    assert fitted == LaneCost(call_us=20.0, per_byte_in_us=0.2, per_byte_out_us=0.4)


def test_a_kernel_that_cannot_run_stays_impossible() -> None:
    kernel_us = np.array([1.0, np.inf])
    segments = SegmentTimes(spans=((0, 1), (1, 2)), times_us=(5.0, 6.0), whole_us=8.0)
    cost = LaneCost(call_us=1.0, per_byte_in_us=0.0, per_byte_out_us=0.0)
    fitted_us, _ = calibrate(kernel_us, cost, segments, cuts=cuts(2), model_bytes=(0, 0), overhead=1.0)
    assert np.isinf(fitted_us[1])
    assert np.isfinite(fitted_us[0])


def test_cuts_cost_something_even_where_the_whole_was_measured_too_slow() -> None:
    segments = SegmentTimes(spans=((0, 1), (1, 2)), times_us=(50.0, 50.0), whole_us=120.0)
    cost = LaneCost(call_us=10.0, per_byte_in_us=0.0, per_byte_out_us=0.0)
    _, fitted = calibrate(np.array([40.0, 40.0]), cost, segments, cuts=cuts(2), model_bytes=(0, 0), overhead=1.0)
    assert fitted.call_us == pytest.approx(10.0 * CUT_LEVEL_RANGE[0] ** 0.5)
