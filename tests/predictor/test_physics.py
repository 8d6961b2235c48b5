"""Physics by family, and what a Gaussian process adds to it."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from autotune.core import FAMILIES
from autotune.predictor.features import KernelRows
from autotune.predictor.physics import TERMS, Physics, fit_physics
from autotune.predictor.process import MIN_OF_FAMILY, Process, fit_process, view

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


def test_kernels_between_known_ones_get_what_lies_between(rows: np.ndarray) -> None:
    seen = view(rows)
    left = 0.3 * np.sin(seen[:, 0] / 2) + 0.2
    learnt = np.arange(len(rows)) % 4 > 0
    process = fit_process(rows[learnt], left[learnt], most=1000)
    codes = np.argmax(rows[:, : len(FAMILIES)], axis=1)
    judged = ~learnt & np.isin(codes, [FAMILIES.index(name) for name in process.families])
    error = np.abs(process.log_factor(rows[judged]) - left[judged])
    assert judged.sum() > 20
    assert np.median(error) < 0.25 * np.median(np.abs(left[judged] - np.median(left)))


def test_little_known_and_much_known_families_have_none(rows: np.ndarray) -> None:
    left = np.full(len(rows), 0.5)
    assert not fit_process(rows, left, most=0).families
    few = fit_process(rows[: MIN_OF_FAMILY - 1], left[: MIN_OF_FAMILY - 1], most=1000)
    assert not few.families
    assert (few.log_factor(rows) == 0).all()


def test_one_wild_kernel_does_not_pull_the_others(rows: np.ndarray) -> None:
    left = np.zeros(len(rows))
    left[::25] = 3.0
    process = fit_process(rows, left, most=1000)
    assert np.median(np.abs(process.log_factor(rows)[left == 0])) < 0.02


def test_comes_back_from_its_file_to_the_bit(rows: np.ndarray) -> None:
    process = fit_process(rows, np.sin(rows[:, 20].astype(np.float64)), most=1000)
    again = Process.read(process.dump())
    assert process.families
    assert (again.log_factor(rows) == process.log_factor(rows)).all()
