"""Which records times are brought to one speed from."""

from __future__ import annotations

from autotune.api.even_times import fastest_sentinels, newest
from autotune.datasets import synthetic_kernels
from tests.api.test_helped import SLOWER, own_us
from tests.api.test_lane_predictors import later

KERNELS = [one.kernel for one in synthetic_kernels({}, count=40, seed=0) if one.kernel.family in SLOWER]


def test_what_was_measured_before_an_upgrade_counts_no_more() -> None:
    before = [own_us(kernel, 10.0) for kernel in KERNELS]
    after = later(KERNELS[:5])
    kept = newest([*after, *before])  # the store's order is not that of time
    assert kept == after
    assert newest(before) == before
    assert fastest_sentinels(kept) == fastest_sentinels(after)
