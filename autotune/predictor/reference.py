"""Reference kernels: a few that stand for all, chosen without chance, so that every device can be asked the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES, Kernel

Matrix = npt.NDArray[np.float64]

FAMILY_DISTANCE = 4.0
"""How far apart two families lie, in doublings of work: a second family teaches more than a kernel twice as large."""


def reference_kernels(kernels: Sequence[Kernel], count: int) -> list[Kernel]:
    """Kernels spread over families, work and intensity; the same for any order of the candidates.

    The first is the one in the middle, each further one the farthest from all before (Gonzalez 1985): a short list is
    the beginning of a longer one.

    Args:
        kernels: to choose from; those that cannot be built are left out.
        count: how many, fewer where there are not so many.
    """
    ordered = sorted({kernel.signature: kernel for kernel in kernels if kernel.buildable}.items())
    if not ordered or count < 1:
        return []
    candidates = [kernel for _, kernel in ordered]
    places = np.array([_place(kernel) for kernel in candidates])
    middle = np.median(places[:, :2], axis=0)
    chosen = [int(np.argmin(((places[:, :2] - middle) ** 2).sum(axis=1)))]
    distance = _squared(places, chosen[0])
    while len(chosen) < min(count, len(candidates)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, _squared(places, chosen[-1]))
        distance[chosen] = -1.0
    return [candidates[at] for at in chosen]


def _place(kernel: Kernel) -> tuple[float, float, float]:
    moved = kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes + 1
    return float(np.log2(moved)), float(np.log2((kernel.flops + 1) / moved)), float(FAMILIES.index(kernel.family))


def _squared(places: Matrix, at: int) -> Matrix:
    near = ((places[:, :2] - places[at, :2]) ** 2).sum(axis=1)
    result: Matrix = near + FAMILY_DISTANCE**2 * (places[:, 2] != places[at, 2])
    return result
