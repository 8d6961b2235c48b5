"""How far outputs are from the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.errors import BadReferenceError
from autotune.graph import OutputPart
from autotune.profiler import compare, squared_errors

WHOLE = [OutputPart(name="y", output="y")]
SIGNAL = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)


@given(scale=st.floats(1e-5, 0.5))
def test_a_relative_change_is_its_own_error(scale: float) -> None:
    found = compare([[SIGNAL]], [[SIGNAL * (1 + scale)]], ["y"], WHOLE)
    assert found.relative_rms == pytest.approx(scale, rel=1e-2)
    assert found.worst_output == "y"


def test_equal_outputs_have_no_error() -> None:
    found = compare([[SIGNAL]], [[SIGNAL.copy()]], ["y"], WHOLE)
    assert (found.relative_rms, found.max_abs, found.no_signal) == (0.0, 0.0, ())


def test_large_boxes_do_not_hide_small_scores() -> None:
    wanted = np.concatenate([np.full((1, 4, 3), 100.0) * SIGNAL[0, :3], SIGNAL[None, :, :3].repeat(2, 1)], axis=1)
    got = wanted.copy()
    got[:, 4:] *= 1.1
    parts = [
        OutputPart(name="y[0:4]", output="y", axis=1, start=0, stop=4),
        OutputPart(name="y[4:8]", output="y", axis=1, start=4, stop=8),
    ]
    assert compare([[wanted]], [[got]], ["y"], WHOLE).relative_rms < 0.01
    found = compare([[wanted]], [[got]], ["y"], parts)
    assert found.relative_rms == pytest.approx(0.1)
    assert found.worst_output == "y[4:8]"


def test_the_worst_sample_counts() -> None:
    found = squared_errors([[SIGNAL], [SIGNAL]], [[SIGNAL], [SIGNAL * 1.2]], ["y"], WHOLE)
    assert found["y"] == pytest.approx(0.04, rel=1e-3)


def test_integers_and_booleans_are_compared_by_the_share_that_differs() -> None:
    wanted = np.array([1, 2, 3, 4])
    assert compare([[wanted]], [[np.array([1, 2, 3, 5])]], ["y"], WHOLE).relative_rms == 0.25
    words = np.array(["a", "b"], dtype=object)
    assert compare([[words]], [[words]], ["y"], WHOLE).relative_rms == 0.0


def test_another_shape_is_a_whole_error() -> None:
    assert compare([[SIGNAL]], [[SIGNAL[:1]]], ["y"], WHOLE).relative_rms == 1.0


def test_nan_in_the_outputs_is_a_huge_but_finite_error() -> None:
    got = SIGNAL.copy()
    got[0, 0] = np.nan
    assert 1.0 < compare([[SIGNAL]], [[got]], ["y"], WHOLE).relative_rms < np.inf


def test_nan_in_the_reference_is_refused() -> None:
    wanted = SIGNAL.copy()
    wanted[0, 0] = np.inf
    with pytest.raises(BadReferenceError, match="'y'"):
        compare([[wanted]], [[SIGNAL]], ["y"], WHOLE)


@pytest.mark.parametrize("level", [0.0, 3.0, 1e-9])
def test_a_constant_or_vanishing_reference_is_no_signal(level: float) -> None:
    wanted = np.full((2, 3), level)
    found = compare([[wanted]], [[wanted + 1e-3]], ["y"], WHOLE)
    assert found.no_signal == ("y",)
    assert found.relative_rms == 0.0
