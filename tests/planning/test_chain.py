"""The exact chain against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.core import Candidate, Lane, StageChoice
from autotune.planning import CostTable, Setting, cheapest_chain, exact_chain

LANES = (Lane.parse("cpu/f32/t2"), Lane.parse("openvino:cpu/f32/t2"), Lane.parse("openvino:cpu/bf16/t2"))


def random_table(kernels: int, seed: int, *, parts: int = 1, illegal: float = 0.2) -> CostTable:
    rng = np.random.default_rng(seed)
    lanes = len(LANES)
    legal = rng.random(kernels + 1) >= illegal
    legal[[0, -1]] = True
    entry = np.where(legal[:, None], rng.uniform(0, 3, (kernels + 1, lanes)), np.inf)
    leave = np.where(legal[:, None], rng.uniform(0, 3, (kernels + 1, lanes)), np.inf)
    error = np.zeros((kernels, lanes, parts))
    error[:, 2] = rng.uniform(0, 1, (kernels, parts))
    cost = rng.uniform(1, 10, (kernels, lanes))
    cost[:, 2] *= 0.5
    return CostTable(
        setting=Setting(),
        lanes=LANES,
        kernel_us=cost,
        entry_us=entry,
        exit_us=leave,
        error=error,
        change_us=rng.uniform(0, 2, (lanes, lanes)) * (1 - np.eye(lanes)),
    )


def brute_force(table: CostTable, budget: float) -> float:
    best = np.inf
    for chosen in itertools.product(range(len(LANES)), repeat=table.kernels):
        candidate = table.choose(chosen)
        if float(table.candidate_error(candidate).max()) <= budget:
            best = min(best, table.candidate_us(candidate))
    return best


@given(seed=st.integers(0, 10_000), kernels=st.integers(1, 6), budget=st.floats(0.0, 3.0))
@settings(max_examples=60, deadline=None)
def test_exact_chain_is_the_optimum_under_the_error_budget(seed: int, kernels: int, budget: float) -> None:
    table = random_table(kernels, seed)
    found = exact_chain(table, weights=np.ones(1), budget=budget)
    best = brute_force(table, budget)
    assert found is not None
    assert found.exact
    assert found.predicted_us == pytest.approx(best)
    assert table.candidate_us(found.candidate) == pytest.approx(found.predicted_us)
    assert found.error <= budget


@given(seed=st.integers(0, 10_000), kernels=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_cheapest_chain_without_a_price_is_the_unconstrained_optimum(seed: int, kernels: int) -> None:
    table = random_table(kernels, seed)
    found = cheapest_chain(table, price=np.zeros(1))
    assert table.candidate_us(found) == pytest.approx(brute_force(table, np.inf))


def test_no_chain_is_found_when_nothing_meets_the_budget() -> None:
    table = random_table(4, 1)
    everywhere = CostTable(
        setting=Setting(),
        lanes=table.lanes,
        kernel_us=table.kernel_us,
        entry_us=table.entry_us,
        exit_us=table.exit_us,
        error=np.ones_like(table.error),
        change_us=table.change_us,
    )
    assert exact_chain(everywhere, weights=np.ones(1), budget=0.5) is None


def test_a_kernel_that_a_lane_cannot_run_stays_off_it() -> None:
    table = random_table(5, 3, illegal=0.0)
    table.kernel_us[2, 1:] = np.inf
    found = exact_chain(table, weights=np.ones(1), budget=10.0)
    assert found is not None
    stage = next(stage for stage in found.candidate.stages if stage.start <= 2 < stage.stop)
    assert stage.lane == LANES[0]


def test_a_high_price_of_error_forbids_the_lower_precision() -> None:
    table = random_table(6, 5, illegal=0.0)
    found = cheapest_chain(table, price=np.full(1, 1e9))
    assert all(stage.lane != LANES[2] for stage in found.stages)


def test_all_stages_agree_with_single_look_ups() -> None:
    table = random_table(5, 7)
    everything = table.all_stages_us()
    for start, stop, lane in itertools.product(range(5), range(1, 6), range(3)):
        if start < stop:
            assert everything[start, stop, lane] == pytest.approx(table.stage_us(start, stop, LANES[lane]))
        else:
            assert everything[start, stop, lane] == np.inf


def test_cheaper_cuts_leave_whole_models_and_make_partitions_cheaper() -> None:
    table = random_table(5, seed=3, illegal=0.0)
    cheaper = table.with_cuts(0.5)
    whole = Candidate(stages=(StageChoice(start=0, stop=5, lane=LANES[0]),))
    cut = Candidate(
        stages=(StageChoice(start=0, stop=2, lane=LANES[0]), StageChoice(start=2, stop=5, lane=LANES[1])),
    )
    kernels = float(table.kernel_us[:2, 0].sum() + table.kernel_us[2:, 1].sum())
    ends = float(table.entry_us[0, 0] + table.exit_us[5, 1])
    assert cheaper.candidate_us(whole) == pytest.approx(table.candidate_us(whole))
    assert cheaper.candidate_us(cut) == pytest.approx(
        kernels + ends + (table.candidate_us(cut) - kernels - ends) / 2,
    )
