"""How wide intervals are, and how much of the error kernels of a model have in common."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.predictor.conformal import calibrate

MODELS, KERNELS = 200, 20
FAMILIES = np.zeros(MODELS * KERNELS, dtype=np.intp)
NAMES = [f"m{at // KERNELS}" for at in range(MODELS * KERNELS)]


def residuals(common: float, own: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(0, common, MODELS), KERNELS) + rng.normal(0, own, MODELS * KERNELS)


@pytest.mark.parametrize(("common", "own"), [(0.1, 0.1), (0.05, 0.15), (0.0, 0.2), (0.2, 0.02)])
def test_what_kernels_of_a_model_share_is_found(common: float, own: float) -> None:
    found = calibrate(residuals(common, own), FAMILIES, NAMES)
    assert found.shared == pytest.approx(common**2 / (common**2 + own**2), abs=0.1)


def test_a_wild_kernel_makes_no_model() -> None:
    wild = residuals(0.0, 0.2)
    wild[:2] = 20.0
    assert calibrate(wild, FAMILIES, NAMES).shared < 0.1


def test_without_models_errors_count_as_shared() -> None:
    assert calibrate(residuals(0.0, 0.2), FAMILIES).shared == 1.0
    assert calibrate(residuals(0.0, 0.2), FAMILIES, ["", "a"] * (len(FAMILIES) // 2)).shared == 1.0


def test_nine_of_ten_are_inside() -> None:
    size = np.abs(residuals(0.1, 0.1))
    assert np.mean(size <= np.log(calibrate(size, FAMILIES).factor(FAMILIES))) == pytest.approx(0.9, abs=0.01)
