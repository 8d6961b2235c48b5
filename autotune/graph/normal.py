"""Random values by the million, which would take longer to draw than all else in opening a kernel."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

BLOCK = 1 << 18
"""Values before they repeat."""


def normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """float32 of this shape, standard normal: one block of them from some place on, again and again."""
    count, start = math.prod(shape), int(rng.integers(BLOCK))
    return np.resize(_two_blocks()[start : start + min(count, BLOCK)], shape)


@cache
def _two_blocks() -> np.ndarray[Any, Any]:
    return np.tile(np.random.default_rng(0).standard_normal(BLOCK, dtype=np.float32), 2)
