"""Which pairs of work to measure together first: those that are least like the pairs that are known."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from autotune.core import Kernel

Pair = tuple[int, int]


def work_point(kernels: Collection[Kernel]) -> tuple[float, float]:
    """Where work lies among other work: log2 of FLOPs per byte, and of the bytes that it moves."""
    moved = sum(kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes for kernel in kernels) + 1
    flops = sum(kernel.flops for kernel in kernels) + 1
    return float(np.log2(flops / moved)), float(np.log2(moved))


def spread_pairs(
    points: NDArray[np.float64], count: int, *, known: Collection[Pair] = (), mirrored: bool = False
) -> list[Pair]:
    """The next pairs in an order whose every beginning is spread out: each is the farthest from all before it.

    Farthest-point sampling (Gonzalez 1985) over the ranks of both sides' coordinates.

    Args:
        points: [N, D] of each work (`work_point`).
        count: how many pairs to give; fewer where there are no more.
        known: pairs that need not be measured again, to be far from.
        mirrored: whether (a, b) says the same as (b, a): the lanes are alike.
    """
    size = len(points)
    if not size:
        return []
    ranks = np.stack([rankdata(column) / size for column in points.T], axis=1)
    pairs = [(one, two) for one in range(size) for two in range(one if mirrored else 0, size)]
    places = np.array([np.concatenate([ranks[one], ranks[two]]) for one, two in pairs])
    swapped = np.array([np.concatenate([ranks[two], ranks[one]]) for one, two in pairs])
    distance = np.full(len(pairs), np.inf)

    def take(place: NDArray[np.float64]) -> None:
        np.minimum(distance, ((places - place) ** 2).sum(axis=1), out=distance)
        if mirrored:
            np.minimum(distance, ((swapped - place) ** 2).sum(axis=1), out=distance)

    done = {(min(pair), max(pair)) if mirrored else pair for pair in known}
    for one, two in done:
        take(np.concatenate([ranks[one], ranks[two]]))
    taken = np.array([pair in done for pair in pairs])
    found: list[Pair] = []
    while len(found) < count and not taken.all():
        if np.isinf(distance).all():  # nothing is known: where both sides move most
            at = int(np.where(taken, -np.inf, places[:, 1 :: points.shape[1]].sum(axis=1)).argmax())
        else:
            at = int(np.where(taken, -np.inf, distance).argmax())
        taken[at] = True
        take(places[at])
        found.append(pairs[at])
    return found
