"""How fast the machine is just now: a few small kernels, timed in turns with what is measured.

Neighbours on the host and clocks make a machine up to twice as slow for seconds at a time. What is measured then is put
off for a while; where that does not help, every round is divided by how much slower the sentinel was beside it than at
its fastest. The fastest is stored with the result.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from autotune.core import Lane
from autotune.graph import build_kernel
from autotune.profiler.probes import Bound, own_threads, reference_kernel, reference_product

KERNELS = (reference_kernel(32, 40), reference_kernel(64, 56), reference_product(256, 256))
"""What slows one kernel may hardly slow another: with two threads of a Zen 5 a neighbour made the first 1.4 times as
slow for a quarter of a minute, the second 1.2 times and the third 1.04 times, and most kernels less than the second."""
SAMPLE_S = 0.003
FASTEST = 0.1
"""Quantile of what it took: a single sample may be lucky."""
DISTURBED = 1.15
"""How many times slower than at its fastest one of its kernels is on a machine that is disturbed."""
LOOK_S = 0.2
"""Between two looks while the machine is disturbed."""
LONGEST_WAIT_S = 15.0
"""For one disturbance, about what a neighbour's burst lasts."""
BELIEVED = 2.0
"""How many times faster than now it may have been before; beyond, something else than a neighbour is different."""

Mark = tuple[float, ...]
"""What each of the sentinel's kernels took, in µs."""


class Sentinel:
    """Kernels that stay open on a lane: those that run there.

    Args:
        lane: whose speed it watches.
        patience: share of the time since it was opened that it may have waited.
        known_us: its level at the fastest that was seen before, 0 where nothing is known: a process that begins beside
            a busy neighbour would take that for the machine's speed.

    Raises:
        SessionError: none of them runs.
    """

    def __init__(self, lane: Lane, *, patience: float = 0.0, known_us: float = 0.0) -> None:
        self._bound = _that_run(lane)
        self._known_us = known_us
        self._marks: list[Mark] = []
        self._patience, self._opened, self._waited_s = patience, time.monotonic(), 0.0

    def mark(self) -> Mark:
        """What it takes now: medians over a few milliseconds."""
        self._marks.append(self._look())
        return self._marks[-1]

    def _look(self) -> Mark:
        return tuple(bound.sample_us(SAMPLE_S) for bound in self._bound)

    @property
    def fastest(self) -> Mark:
        """What it takes on the undisturbed machine, as far as has been seen, here or before."""
        seen = tuple(map(float, np.quantile(self._marks, FASTEST, axis=0)))
        faster = statistics.geometric_mean(seen) / self._known_us if self._known_us > 0 else 1.0
        return tuple(us / faster for us in seen) if 1.0 < faster < BELIEVED else seen

    @property
    def level_us(self) -> float:
        """Geometric mean of the same, by which the speeds of different hours are told."""
        return statistics.geometric_mean(self.fastest)

    def calmer(self, mark: Mark) -> Iterator[Mark]:
        """Waits while the machine is disturbed, as long as patience lasts: what it takes at each further look."""
        begin, fastest = time.monotonic(), self.fastest
        while (now := time.monotonic()) - begin < LONGEST_WAIT_S and disturbed(mark, fastest):
            if self._waited_s >= self._patience * (now - self._opened):
                break
            time.sleep(LOOK_S)
            mark = self._look()  # not counted: looks are more frequent than marks
            self._waited_s += LOOK_S
            yield mark


def _that_run(lane: Lane) -> list[Bound]:
    own, shared = own_threads(lane)
    found: list[Bound] = []
    problems: list[Exception] = []
    for kernel in KERNELS:
        try:
            model = build_kernel(kernel, seed=0).SerializeToString()
            found.append(Bound(model, kernel.inputs, own, shared_pool=shared))
        except Exception as error:  # noqa: BLE001 - providers raise anything; a few do not have every operator
            problems.append(error)
    if not found:
        raise problems[0]
    return found


def disturbed(mark: Mark, fastest: Mark) -> bool:
    """Whether any of the kernels takes longer than on a calm machine."""
    return any(us > DISTURBED * best for us, best in zip(mark, fastest, strict=True))


def slowness(marks: Sequence[Mark], fastest: Mark) -> list[float]:
    """[R] how many times slower than at its fastest the machine was in each round, by the median kernel.

    Args:
        marks: [R + 1] what the sentinel took before, between and after the rounds.
        fastest: what it takes at its fastest.
    """
    return [between(before, after, fastest) for before, after in pairwise(marks)]


def between(before: Mark, after: Mark, fastest: Mark) -> float:
    """How many times slower the machine was between two marks."""
    return statistics.median(_ratios(before, after, fastest))


def disturbance(marks: Sequence[Mark], fastest: Mark) -> float:
    """How many times slower than at its fastest the kernel was that was slowed most, on average over the rounds."""
    return max(map(statistics.fmean, zip(*(_ratios(*pair, fastest) for pair in pairwise(marks)), strict=True)))


def _ratios(before: Mark, after: Mark, fastest: Mark) -> list[float]:
    return [(one + two) / 2 / best for one, two, best in zip(before, after, fastest, strict=True)]
