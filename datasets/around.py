"""Kernels that no model has, around those that models have: so that a predictor sees the space between them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from autotune.core import Kernel
from autotune.datasets.mutate import mutate

MAX_BYTES = 64 * 2**20
MAX_FLOPS = 4 * 10**9
_TRIES = 20


def kernels_around(kernels: Sequence[Kernel], *, count: int, seed: int) -> list[Kernel]:
    """Mutated kernels: other channels, sizes and strides, everything else as in the kernel they come from.

    Args:
        kernels: parents, for instance all kernels of the zoo.
        count: how many to make; fewer come back where the parents do not give that many.
        seed: the same parents, count and seed give the same kernels.

    Returns:
        distinct kernels, none equal to a parent.
    """
    found = around(kernels, seed=seed, seen={kernel.signature for kernel in kernels})
    return [child for child, _ in islice(found, count)]


def around(kernels: Sequence[Kernel], *, seed: int, seen: set[str]) -> Iterator[tuple[Kernel, Kernel]]:
    """Mutated kernels, each with its parent, until the parents give no more.

    Families take turns, so that few pooling kernels are not drowned by many convolutions. What can't be mutated safely
    (constants that hold shapes, operators whose outputs can't be inferred) is skipped, as is what would take too long
    to measure.

    Args:
        kernels: parents.
        seed: of the draws.
        seen: signatures that are not given again; those given are added.
    """
    rng = random.Random(seed)
    parents: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        if kernel.buildable:
            parents.setdefault(kernel.family, []).append(kernel)
    families = sorted(parents)
    misses = dict.fromkeys(families, 0)
    while families:
        for family in list(families):
            parent = rng.choice(parents[family])
            child = mutate(parent, rng)
            if child is not None and measurable(child) and child.signature not in seen:
                seen.add(child.signature)
                misses[family] = 0
                yield child, parent
                continue
            misses[family] += 1
            if misses[family] >= _TRIES:
                families.remove(family)


def measurable(kernel: Kernel, *, most: int = MAX_BYTES) -> bool:
    """Whether measuring it takes no more than a moment (`MAX_FLOPS`) and its tensors have at most so many bytes."""
    moved = kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes
    return kernel.buildable and kernel.flops <= MAX_FLOPS and moved <= most
