"""The analytic roofline."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from autotune.predictor.features import COLUMN, KernelRows
from autotune.predictor.prior import CLASSES, NOMINAL, Roofline, fit_roofline


def test_finds_the_constants_of_a_device_that_is_a_roofline(invented: ModuleType) -> None:
    unique, inverse = KernelRows().take(invented.draw_kernels(200, 1))
    truth = Roofline(launch_us=7.0, us_per_flop=(4e-6, 3e-5, 2e-4), us_per_byte=6e-5)
    rows = unique[inverse]
    found = fit_roofline(rows, np.exp(truth.log_us(rows)))
    assert np.abs(found.log_us(rows) - truth.log_us(rows)).max() < 0.1


def test_a_few_wild_measurements_do_not_bend_it(invented: ModuleType) -> None:
    unique, inverse = KernelRows().take(invented.draw_kernels(200, 1))
    truth = Roofline(launch_us=7.0, us_per_flop=(4e-6, 3e-5, 2e-4), us_per_byte=6e-5)
    rows = unique[inverse]
    measured = np.exp(truth.log_us(rows))
    measured[::20] *= 30
    found = fit_roofline(rows, measured)
    assert np.median(np.abs(found.log_us(rows) - truth.log_us(rows))) < 0.05


def test_a_class_that_nobody_measured_is_as_much_faster_as_dense_work(invented: ModuleType) -> None:
    unique, inverse = KernelRows().take(invented.draw_kernels(200, 1))
    rows = unique[inverse]
    rows = rows[rows[:, COLUMN["family_convolution"]] > 0]
    fast = Roofline(launch_us=1.0, us_per_flop=(1e-6, 1.0, 1.0), us_per_byte=1e-5)
    found = fit_roofline(rows, np.exp(fast.log_us(rows)))
    for name in ("depthwise", "light"):
        at = CLASSES.index(name)
        assert found.us_per_flop[at] / found.us_per_flop[0] < 2 * NOMINAL.us_per_flop[at] / NOMINAL.us_per_flop[0]


def test_one_record_is_enough(invented: ModuleType) -> None:
    rows, _ = KernelRows().take(invented.draw_kernels(1, 1))
    found = fit_roofline(rows, np.array([123.0]))
    assert np.isfinite(found.log_us(rows)).all()
