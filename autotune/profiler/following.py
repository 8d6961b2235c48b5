"""How much of the sentinel's slowdown the kernels measured beside it take part in, learnt as they are measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

SHARE = 0.75
"""Before anything is learnt."""
WEIGHT = 0.05
"""Of that: a sum of squared logarithms, a dozen rounds that differ by 7 %."""
LEAST_SPREAD = 0.03
"""Of the logarithm of slowness over a kernel's rounds: below it is the sentinel's own noise."""
OUTLIER = 0.5
"""Largest logarithm of a time over the kernel's mean that counts."""


class Following:
    """Slope of the logarithm of kernels' times over that of the sentinel's slowness, within kernels, from 0 to 1.

    On OpenVINO's lanes of a Zen 5 it is about 1; on two threads of the CPU provider a neighbour that slowed the
    sentinel by a third slowed others by a twentieth.
    """

    def __init__(self) -> None:
        self._squares, self._products = WEIGHT, WEIGHT * SHARE

    @property
    def share(self) -> float:
        """The slope as far as it is known."""
        return min(1.0, max(0.0, self._products / self._squares))

    def learn(self, times_us: Sequence[float], slower: Sequence[float]) -> None:
        """From the rounds of one kernel.

        Args:
            times_us: by round.
            slower: by round, how many times slower the sentinel was.
        """
        count = min(len(times_us), len(slower))
        if count < 2:
            return
        found, beside = np.log(times_us[:count]), np.log(slower[:count])
        if beside.std() < LEAST_SPREAD:
            return
        beside = beside - beside.mean()
        self._squares += float(beside @ beside)
        self._products += float(beside @ np.clip(found - found.mean(), -OUTLIER, OUTLIER))

    def of(self, slower: Sequence[float]) -> list[float]:
        """How many times slower kernels were, by round."""
        return [factor**self.share for factor in slower]

    def after(self, kernels: Iterable[Sequence[float]], slower: Sequence[float]) -> list[float]:
        """The same, once these kernels' times by round have taught it."""
        for times_us in kernels:
            self.learn(times_us, slower)
        return self.of(slower)
