"""Solo, split, or the other lane: the formula, and what it must never do."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.errors import UsageError
from autotune.planning.sharing import even_steps, share_among

SHARES = list(even_steps(2, 16))


def linear(total_us: float, fixed_us: float = 0.0) -> Callable[[float], float]:
    return lambda share: fixed_us + share * total_us


def test_two_equal_lanes_share_evenly() -> None:
    found = share_among([linear(100), linear(100)], shares=SHARES, sync_us=10)
    assert (found.shares, found.latency_us, found.solo_us) == ((0.5, 0.5), 60, 100)
    assert found.gain == pytest.approx(100 / 60)


def test_a_slower_lane_gets_less() -> None:
    found = share_among([linear(100), linear(300)], shares=SHARES, sync_us=1, copy_us=lambda _: 4.0)
    assert found.shares == (0.75, 0.25)
    assert found.latency_us == 80


def test_nothing_is_split_where_meeting_costs_more_than_it_gains() -> None:
    assert share_among([linear(100), linear(100)], shares=SHARES, sync_us=51).shares == (1, 0)
    assert share_among([linear(100), linear(90)], shares=SHARES, sync_us=51).shares == (0, 1)
    assert share_among([linear(100), linear(100)], shares=SHARES, sync_us=45, least_gain=1.1).shares == (1, 0)
    assert not share_among([linear(100), linear(9000)], shares=SHARES, sync_us=0, copy_us=lambda _: 20.0).is_split


@given(st.floats(1, 1e4), st.floats(1, 1e4), st.floats(0, 1e3), st.floats(0, 1e3), st.lists(st.sampled_from(SHARES)))
def test_it_is_never_slower_than_the_better_lane_alone(
    first: float, second: float, sync: float, copy: float, shares: list[tuple[float, ...]]
) -> None:
    found = share_among([linear(first), linear(second)], shares=shares, sync_us=sync, copy_us=lambda _: copy)
    assert found.latency_us <= min(first, second)
    assert found.shares in {(1, 0), (0, 1), *shares}
    assert found.gain >= 1


def test_shares_and_times_that_cannot_be_meant_are_refused() -> None:
    for wrong in ((1.0, 0.0), (0.5, 0.4), (0.25, 0.25, 0.5)):
        with pytest.raises(UsageError, match="between 0 and 1 and sum to 1"):
            share_among([linear(1), linear(1)], shares=[wrong], sync_us=0)
    with pytest.raises(UsageError, match="not negative"):
        share_among([linear(1), linear(1)], shares=[(0.5, 0.5)], sync_us=-1)


def test_three_lanes_share_by_their_speed() -> None:
    found = share_among([linear(100), linear(200), linear(200)], shares=list(even_steps(3, 8)), sync_us=1)
    assert found.shares == (0.5, 0.25, 0.25)
    assert found.latency_us == 51


@given(st.integers(1, 4), st.integers(4, 9))
def test_even_steps_are_all_ways_to_share(lanes: int, steps: int) -> None:
    found = list(even_steps(lanes, steps))
    assert len(found) == len(set(found)) == math.comb(steps - 1, lanes - 1)
    for shares in found:
        assert sum(shares) == pytest.approx(1)
        assert all(share * steps == pytest.approx(round(share * steps)) and share > 0 for share in shares)
