"""Pairs of work to measure: spread out from the first, none twice."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.planning.corun_pairs import spread_pairs

LINE = np.arange(6, dtype=float)[:, None]


def test_the_first_pairs_are_the_corners() -> None:
    assert set(spread_pairs(LINE, 4)) == {(5, 5), (0, 0), (0, 5), (5, 0)}


@pytest.mark.parametrize(("mirrored", "count"), [(False, 36), (True, 21)])
def test_every_pair_comes_once(mirrored: bool, count: int) -> None:
    found = spread_pairs(LINE, 100, mirrored=mirrored)
    assert len(found) == len(set(found)) == count
    if mirrored:
        assert len({frozenset(pair) for pair in found}) == count


def test_what_is_known_is_left_out_and_kept_away_from() -> None:
    known = [(0, 0), (0, 5), (5, 0)]
    assert spread_pairs(LINE, 1, known=known) == [(5, 5)]
    assert spread_pairs(LINE, 3, known=known, mirrored=True)[0] == (5, 5)
    assert spread_pairs(LINE, 3, known=[(one, two) for one in range(6) for two in range(6)]) == []


def test_without_work_there_is_nothing() -> None:
    assert spread_pairs(np.empty((0, 2)), 5) == []
