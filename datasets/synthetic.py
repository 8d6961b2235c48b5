"""Kernels that no model has, around those that models have: so that a predictor sees the space between them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from autotune.core import Kernel
from autotune.datasets.mutate import mutate

MAX_BYTES = 64 * 2**20
MAX_FLOPS = 4 * 10**9
_TRIES = 20


def synthetic_kernels(kernels: Sequence[Kernel], *, count: int, seed: int) -> list[Kernel]:
    """Mutated kernels: other channels, sizes and strides, everything else as in the kernel they come from.

    Families take turns, so that few pooling kernels are not drowned by many convolutions. What can't be mutated safely
    (constants that hold shapes, operators whose outputs can't be inferred) is skipped, as is what would take too long
    to measure (over `MAX_BYTES` or `MAX_FLOPS`).

    Args:
        kernels: parents, for instance all kernels of the zoo.
        count: how many to make; fewer come back where the parents do not give that many.
        seed: the same parents, count and seed give the same kernels.

    Returns:
        distinct kernels, none equal to a parent.
    """
    rng = random.Random(seed)
    parents: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        if kernel.buildable:
            parents.setdefault(kernel.family, []).append(kernel)
    seen = {kernel.signature for kernel in kernels}
    found: list[Kernel] = []
    families = sorted(parents)
    misses = dict.fromkeys(families, 0)
    while len(found) < count and families:
        for family in list(families):
            child = _child(parents[family], seen, rng)
            misses[family] = 0 if child is not None else misses[family] + 1
            if misses[family] >= _TRIES:
                families.remove(family)
            if child is not None and len(found) < count:
                found.append(child)
    return found


def _child(parents: Sequence[Kernel], seen: set[str], rng: random.Random) -> Kernel | None:
    child = mutate(rng.choice(parents), rng)
    if child is None or child.flops > MAX_FLOPS:
        return None
    if child.bytes_read + child.bytes_written + child.weight_bytes > MAX_BYTES or child.signature in seen:
        return None
    seen.add(child.signature)
    return child
