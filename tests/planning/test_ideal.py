"""What lanes could reach together: under every schedule, and met where kernels can be shared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.planning import ideal_us, least_ideal_us


def test_each_lane_takes_what_it_is_good_at() -> None:
    assert ideal_us(np.array([[4.0, 16.0], [16.0, 4.0]])) == pytest.approx(4.0)
    assert ideal_us(np.array([[10.0, 30.0]])) == pytest.approx(7.5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(2, 4), st.integers(0, 10**6))
def test_nothing_ends_before(kernels: int, lanes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.lognormal(5.0, 1.0, (kernels, lanes))
    ideal = ideal_us(table)
    assert least_ideal_us(table) <= ideal * (1 + 1e-9)
    even = 1 / (1 / table.sum(axis=0)).sum()
    assert ideal <= even * (1 + 1e-6)  # all kernels shared alike is one way to share them
    shares = rng.dirichlet(np.ones(lanes), kernels)
    for placed in (shares, np.eye(lanes)[rng.integers(0, lanes, kernels)]):
        assert (placed * table).sum(axis=0).max() >= ideal * (1 - 1e-6)


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=9), st.lists(st.floats(0.1, 9.0), min_size=2, max_size=4))
def test_where_lanes_are_alike_no_solver_is_needed(kernels: list[float], slower: list[float]) -> None:
    table = np.outer(kernels, slower)
    assert least_ideal_us(table) == pytest.approx(1 / (1 / table.sum(axis=0)).sum())
