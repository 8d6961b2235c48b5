"""Where to cut a model into a few segments that are measured as stages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autotune.core import Kernel
from autotune.graph import Cut

WORK_RATE = 2e5
"""Floating-point operations per us, to tell about how long a kernel takes where nothing was measured."""
BYTE_RATE = 1e4
"""Bytes per us, likewise."""


def rough_us(kernels: Sequence[Kernel]) -> NDArray[np.float64]:
    """[K] about how long kernels take, by FLOPs and bytes alone: the same in every search, whatever was measured."""
    return np.array(
        [k.flops / WORK_RATE + (k.bytes_read + k.bytes_written) / BYTE_RATE + 1.0 for k in kernels], dtype=np.float64
    )


def segment_ranges(cuts: Sequence[Cut], weight: NDArray[np.float64], *, count: int) -> list[tuple[int, int]]:
    """About `count` ranges of kernels of similar weight, cut where few bytes cross.

    Args:
        cuts: K + 1 cuts of the graph.
        weight: [K] how much each kernel counts, for instance its predicted time.
        count: segments wanted; fewer come back where legal cuts are rare.
    """
    kernels = len(cuts) - 1
    if kernels < 2 or count < 2:
        return [(0, kernels)]
    reached = np.concatenate([[0.0], np.cumsum(weight)]) / max(float(weight.sum()), 1e-12)
    largest = max(cut.bytes for cut in cuts) or 1
    chosen = {0, kernels}
    for target in np.arange(1, count) / count:
        price = [
            abs(reached[at] - target) * count + 0.25 * cuts[at].bytes / largest if cuts[at].legal else np.inf
            for at in range(1, kernels)
        ]
        at = int(np.argmin(price)) + 1
        if np.isfinite(price[at - 1]):
            chosen.add(at)
    ordered = sorted(chosen)
    return list(pairwise(ordered))
