"""What a lane's kernels show of its processor: caches, and how its convolutions are cut into tiles.

It is learnt: a virtual machine shares its caches, and a provider tells nobody what it is compiled for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What is learnt of a lane in steps.

    Args:
        cache_bytes: activations that the last cache holds; 0: not known, everything comes from where it always does.
        weight_cache_bytes: the same of the weights of products with few rows.
        tile: output channels that a convolution computes at once; 0: as many as there are.
        columns: outputs of a row that it computes at once; 0: as many as there are.
        threads: that share out rows of sets of tiles; 1: they share everything evenly.
    """

    cache_bytes: int = 0
    weight_cache_bytes: int = 0
    tile: int = 0
    columns: int = 0
    threads: int = 1


NO_GEOMETRY = Geometry()
"""Nothing is known."""
CACHES = (8 * 2**20, 16 * 2**20, 32 * 2**20, 64 * 2**20, 128 * 2**20)
"""Bytes of activations that a lane's last cache may hold."""
WEIGHT_CACHES = tuple(round(2 ** (23 + step / 2)) for step in range(9))
"""Bytes of weights that it may hold, finer: copies beyond it slow a product of one row threefold."""
TILES = ((8, 3), (16, 6))
"""Output channels and columns that a convolution may compute at once: vector registers of AVX2, of AVX-512."""


def beyond(touched: Vector, cache_bytes: float, *, octaves: float = 1.0) -> Vector:
    """[n] share of what is touched that a cache does not hold, in quarters: a hair of it could be given any price."""
    if not cache_bytes:
        return np.zeros(len(touched))
    share = np.clip(np.log2(np.maximum(touched, 1.0) / cache_bytes) / octaves + 1.0, 0.0, 1.0)
    result: Vector = np.round(4.0 * share) / 4.0
    return result
