"""Fronts of several objectives, against their definition; proposals on the predicted one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.planning import front_proposals, non_dominated, spread
from tests.planning.test_chain import LANES, random_table


@given(
    points=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12),
)
@settings(max_examples=100, deadline=None)
def test_a_front_is_what_nothing_dominates_each_value_once(points: list[tuple[int, int, int]]) -> None:
    kept = non_dominated(np.array(points, float))
    assert len({points[at] for at in kept}) == len(kept)
    for at, point in enumerate(points):
        dominated = any(all(a <= b for a, b in zip(other, point, strict=True)) and other != point for other in points)
        assert dominated == (point not in {points[k] for k in kept}), at


def test_a_few_of_a_front_are_its_ends_and_what_lies_far_from_them() -> None:
    line = np.array([[at, 10 - at] for at in range(11)], float)
    assert spread(line, 2) == [0, 10]
    assert spread(line, 3) == [0, 10, 5]
    assert sorted(spread(line, 99)) == list(range(11))
    assert spread(np.array([[1.0, 1.0], [1.0, 1.0]]), 2) == [0]
    assert spread(np.zeros((0, 2)), 3) == []


@pytest.mark.parametrize("seed", range(8))
def test_proposals_are_on_the_predicted_front(seed: int) -> None:
    table = random_table(6, seed)
    memory = np.random.default_rng(seed).uniform(1, 10, table.kernel_us.shape)
    budget = 1.5
    rows = []
    for chosen in itertools.product(range(len(LANES)), repeat=table.kernels):
        candidate = table.choose(chosen)
        error = float(table.candidate_error(candidate).max())
        if error <= budget and not candidate.is_single_lane:
            bytes_taken = sum(memory[at, lane] for at, lane in enumerate(chosen))
            rows.append((table.candidate_us(candidate), bytes_taken, error**0.5))
    every = np.array([row for row in rows if np.isfinite(row[0])])
    found = front_proposals(table, bytes_by_kernel=memory, budget=budget, memory=True, error=True, count=4)
    assert len({proposal.candidate.hash for proposal in found}) == len(found) <= 4
    for proposal in found:
        point = np.array([proposal.predicted_us, 0.0, proposal.predicted_error])
        assert point[0] == pytest.approx(table.candidate_us(proposal.candidate))
        assert proposal.predicted_error**2 <= budget
        taken = sum(
            memory[at, LANES.index(stage.lane)] for stage in proposal.candidate.stages for at in stage.positions
        )
        assert proposal.predicted_bytes == int(taken)
        point[1] = taken
        beaten = (every <= point + 1e-9).all(axis=1) & (every < point - 1e-6).any(axis=1)
        assert not beaten.any()


def test_an_objective_that_does_not_count_moves_nothing() -> None:
    table = random_table(6, 1)
    memory = np.ones(table.kernel_us.shape)
    memory[:, 0] = 1e-3  # far the best, were memory asked for
    found = front_proposals(table, bytes_by_kernel=memory, budget=1.5, memory=False, error=True, count=4)
    times = [proposal.predicted_us for proposal in found]
    errors = [proposal.predicted_error for proposal in found]
    order = np.argsort(times)
    assert all(np.diff(np.array(errors)[order]) <= 0)
