"""How fast the machine is just now: one small kernel, timed in turns with what is measured.

Neighbours on the host and clocks make a machine up to twice as slow for seconds at a time. Every round of a measurement
is divided by how much slower the sentinel was beside it than at its fastest, and the fastest is stored with the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from autotune.core import Lane
from autotune.graph import build_kernel
from autotune.profiler.probes import Bound, own_threads, reference_kernel

CHANNELS, SIZE = 32, 40
SAMPLE_S = 0.003
FASTEST = 0.1
"""Quantile of what it took: a single sample may be lucky."""


class Sentinel:
    """A convolution that stays open on a lane.

    Args:
        lane: whose speed it watches.
    """

    def __init__(self, lane: Lane) -> None:
        own, shared = own_threads(lane)
        kernel = reference_kernel(CHANNELS, SIZE)
        model = build_kernel(kernel, seed=0).SerializeToString()
        self._bound = Bound(model, kernel.inputs, own, shared_pool=shared)
        self._marks: list[float] = []

    def mark(self) -> float:
        """What it takes now, in µs: the median over a few milliseconds."""
        self._marks.append(self._bound.sample_us(SAMPLE_S))
        return self._marks[-1]

    @property
    def fastest_us(self) -> float:
        """What it takes on the undisturbed machine, as far as has been seen."""
        return float(np.quantile(self._marks, FASTEST))


def slowness(marks: Sequence[float], fastest_us: float) -> list[float]:
    """[R] how many times slower than at its fastest the machine was in each round.

    Args:
        marks: [R + 1] what the sentinel took before, between and after the rounds.
        fastest_us: what it takes at its fastest.
    """
    return [(before + after) / 2 / fastest_us for before, after in pairwise(marks)]
