"""Physics, like kernels and trees: what is hidden is hidden from all of them, and each can be left away."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from autotune.predictor.boosted import BoostedLane, BoostedTrees
from autotune.predictor.feature_table import groups
from autotune.predictor.features import COLUMN, Matrix, kernel_rows

GROUPS = groups()


def learnt(invented: ModuleType, learner: BoostedTrees) -> tuple[BoostedLane, Matrix]:
    """What a lane's 60 kernels teach, and the features of others."""
    kernels, lane = invented.draw_kernels(90, 1), invented.LANES[0]
    rows = kernel_rows(kernels)
    latency_us = np.array([invented.true_latency_us(kernel, lane) for kernel in kernels])
    return learner.fit(rows[:60], latency_us[:60], lane, invented.CORES, seed=0), rows[60:]


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_hidden_group_makes_no_difference_to_any_part(invented: ModuleType, group: str) -> None:
    hidden = tuple(feature.name for feature in GROUPS[group])
    model, rows = learnt(invented, BoostedTrees(hidden=hidden))
    other = rows.copy()
    own = [COLUMN[name] for name in hidden if COLUMN[name] < rows.shape[1]]
    other[:, own] = other[::-1, own] + 3.0
    lane = invented.LANES[0]
    np.testing.assert_array_equal(model.log_us(other, lane, 2), model.log_us(rows, lane, 2))
    np.testing.assert_array_equal(model.contributions(other, lane, 2)[1], model.contributions(rows, lane, 2)[1])


@pytest.mark.parametrize(("rounds", "near"), [(0, 1000), (20, 0), (0, 0)])
def test_parts_that_are_left_away_stay_away_when_loaded(invented: ModuleType, rounds: int, near: int) -> None:
    learner, lane = BoostedTrees(rounds=rounds, near=near), invented.LANES[0]
    model, rows = learnt(invented, learner)
    assert (model.booster is None, model.near is None) == (rounds == 0, near == 0)
    state, files = model.dump()
    again = learner.restore(state, files, 2)
    predicted = model.log_us(rows, lane, 2)
    np.testing.assert_array_equal(again.log_us(rows, lane, 2), predicted)
    log_physics, parts = model.contributions(rows, lane, 2)
    np.testing.assert_allclose(log_physics + parts.sum(axis=1), predicted, atol=1e-5)
