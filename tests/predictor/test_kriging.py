"""What like kernels say of each other."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from autotune.predictor import kriging
from autotune.predictor.features import COLUMN, Matrix, kernel_rows
from autotune.predictor.kriging import Kriging, krige


@pytest.fixture(scope="module")
def rows(invented: ModuleType) -> Matrix:
    return kernel_rows(invented.draw_kernels(240, 1))


def smooth(rows: Matrix) -> np.ndarray:
    """A factor that changes gently with channels and pixels, as caches and tiles make it."""
    channels, pixels = (rows[:, COLUMN[name]].astype(float) for name in ("c_out", "log_pixels_out"))
    return np.asarray(0.4 * np.sin(np.log2(channels + 1) / 2) + 0.05 * pixels)


def test_kernels_between_measured_ones_are_interpolated(rows: Matrix) -> None:
    factor = smooth(rows)
    factor -= factor.mean()
    near, _ = krige(rows[:180], factor[:180], most=1000)
    error = np.abs(near.log_factor(rows[180:]) - factor[180:])
    assert error.mean() < 0.3 * np.abs(factor[180:]).mean()


def test_far_from_all_measured_ones_nothing_is_said(rows: Matrix) -> None:
    near, _ = krige(rows, np.ones(len(rows)), most=1000)
    far = rows[:1].copy()
    for name in ("n", "c_in", "h_in", "w_in", "c_out", "h_out", "w_out", "kernel_h", "kernel_w", "reduction"):
        far[:, COLUMN[name]] = 2.0**40
    assert near.log_factor(rows[:1]) == pytest.approx(1.0, abs=0.05)
    assert abs(near.log_factor(far)) < 1e-3


def test_one_wild_measurement_bends_little(rows: Matrix) -> None:
    factor = smooth(rows) - smooth(rows).mean()
    wild = factor.copy()
    wild[7] += 3.0
    plain, bent = (krige(rows, one, most=1000)[0].log_factor(rows) for one in (factor, wild))
    assert np.abs(np.delete(bent - plain, 7)).max() < 0.1
    assert abs(bent[7] - factor[7]) < 1.0


def test_what_remains_is_what_the_others_leave_over(rows: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kriging, "PASSES", 0)  # weights are those of all records, not of the others
    monkeypatch.setattr(kriging, "LEAST_SPREAD", 100.0)  # so is the scale of the features
    rows, factor = rows[:40], smooth(rows[:40])
    _, remainder = krige(rows, factor, most=1000)
    for at in (0, 11, 39):
        others = np.arange(len(rows)) != at
        near, _ = krige(rows[others], factor[others], most=1000)
        assert remainder[at] == pytest.approx(factor[at] - near.log_factor(rows[at : at + 1])[0], abs=2e-3)


def test_of_many_kernels_some_are_taken_and_all_have_a_remainder(rows: Matrix) -> None:
    factor = smooth(rows)
    near, remainder = krige(rows, factor, most=60)
    kinds, others = kriging.kind_of(rows), np.ones(len(rows), dtype=bool)
    for one in near.measured:
        own = np.flatnonzero(kinds == one.kind)
        taken = own[:: -(-len(own) // 60)]
        assert len(one.points) == len(taken) <= 60
        others[taken] = False
    assert others.sum() > len(rows) / 2
    assert remainder[others] == pytest.approx((factor - near.log_factor(rows))[others])
    assert len(remainder) == len(rows)


def test_kernels_that_compute_say_nothing_of_those_that_move_bytes(rows: Matrix) -> None:
    compute = kriging.kind_of(rows) == 0
    assert 0 < compute.sum() < len(rows)
    near, remainder = krige(rows[compute], np.ones(compute.sum()), most=1000)
    assert (near.log_factor(rows)[~compute] == 0.0).all()
    assert np.median(np.abs(near.log_factor(rows)[compute] - 1.0)) < 0.05
    assert len(remainder) == compute.sum()
    assert Kriging.read(near.dump()).log_factor(rows).tolist() == near.log_factor(rows).tolist()


def test_is_the_same_after_it_was_stored(rows: Matrix) -> None:
    near, _ = krige(rows, smooth(rows), most=1000)
    assert Kriging.read(near.dump()).log_factor(rows).tolist() == near.log_factor(rows).tolist()
    assert near.log_factor(rows[:0]).shape == (0,)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY", b"text"])
def test_what_cannot_be_read_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"read|pickled|magic|archive"):
        Kriging.read(content)
