"""Physics by family."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from autotune.core import FAMILIES
from autotune.predictor.features import KernelRows
from autotune.predictor.physics import TERMS, Physics, fit_physics

TRUTH = Physics(coefficients=tuple((2.0 + code, 4e-6, 3e-5, 6e-5, 2e-5, 1e-4) for code in range(len(FAMILIES))))


@pytest.fixture
def rows(invented: ModuleType) -> np.ndarray:
    unique, inverse = KernelRows().take(invented.draw_kernels(240, 1))
    return unique[inverse]


def test_finds_what_a_device_takes_that_is_such_a_sum(rows: np.ndarray) -> None:
    found = fit_physics(rows, np.exp(TRUTH.log_us(rows)))
    assert len(found.coefficients[0]) == TERMS
    assert np.median(np.abs(found.log_us(rows) - TRUTH.log_us(rows))) < 0.05


def test_a_few_wild_measurements_do_not_bend_it(rows: np.ndarray) -> None:
    measured = np.exp(TRUTH.log_us(rows))
    measured[::20] *= 30
    found = fit_physics(rows, measured)
    assert np.median(np.abs(found.log_us(rows) - TRUTH.log_us(rows))) < 0.08


def test_a_family_without_records_takes_the_rooflines_terms(rows: np.ndarray) -> None:
    family = np.argmax(rows[:, : len(FAMILIES)], axis=1)
    known = family == np.bincount(family).argmax()
    found = fit_physics(rows[known], np.exp(TRUTH.log_us(rows[known])))
    assert np.isfinite(found.log_us(rows)).all()
    assert all(max(one) > 0 for one in found.coefficients)
