"""What latency is a sum of: amounts that a kernel has of each term, to which a lane puts prices (`physics.py`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autotune.predictor.features import COLUMN, L2_BYTES, Matrix, amount
from autotune.predictor.geometry import NO_GEOMETRY, Geometry, beyond
from autotune.predictor.prior import LIGHT, family_codes
from autotune.predictor.shapes import ACTIVATIONS
from autotune.predictor.tiles import IMAGE_RANK, unblocked, work

Vector = npt.NDArray[np.float64]

TERMS = (
    "launch", "flops", "bytes in", "bytes out", "weights", "light", "exponential", "clipped", "far exponential", "rows",
    "flops apart", "streamed", "far moved", "moved alone", "unblocked", "aliased", "memory",
)  # fmt: skip
"""Names of the amounts, in their order (`terms`)."""
_EXPONENTIAL = [ACTIVATIONS.index(name) for name in ("silu", "sigmoid", "tanh", "gelu", "hard", "other")]
"""Activations that cost as much as some convolutions; others are fused into the loop before them."""
_SHARED_OUT = 256 * 1024
"""Bytes of an input from which threads share out moving it."""
_PAGE = 4096
"""Bytes after which a first cache has no further places: planes of channels so far apart displace each other."""
_FEW_ROWS = 16
"""Rows of a product up to which reading its weights takes longer than computing with them."""
_COPIES = 4
"""How often a kernel's weights are in the cache at once: it is timed as copies in a row (`profiler/probes.py`)."""


def terms(rows: Matrix, geometry: Geometry = NO_GEOMETRY) -> Vector:
    """[n, term] amounts of each kernel.

    - 1, FLOPs, bytes in, bytes out and bytes of weights. FLOPs are those of which the busiest thread is capable while
      it computes, times threads (`tiles.work`).
    - Elements out of what is fused behind: light operators; one with an exponential; one that clips at both ends (some
      providers do so in a pass of its own); and exponentials whose results no core's own cache holds.
    - Rows that are normalised.
    - FLOPs of convolutions and pools that are not blocked, and bytes that convolutions read again and again from beyond
      a core's own cache.
    - Bytes that are moved beyond a core's own cache, that one thread moves while the others wait, and that are moved as
      blocked images, which are taken apart for it.
    - Bytes of images with exponentials and of such ones that are taken apart, where planes of channels displace each
      other in a core's first cache while images change their layout.
    - Bytes that come from memory: none while what is touched fits into half of the last cache, all of them beyond the
      whole. While a kernel computes much the processor fetches them in the meantime.
    """
    into, out, weights = (amount(rows, name) for name in ("log_bytes_in", "log_bytes_out", "log_weight_bytes"))
    elements = out * 8 / np.maximum(rows[:, COLUMN["bits"]], 1.0)
    exponential = np.isin(rows[:, COLUMN["activation"]], _EXPONENTIAL)
    behind = elements * np.maximum(rows[:, COLUMN["nodes"]] - 1.0 - exponential, 0.0)
    done = work(rows, geometry)
    clipped = elements * (rows[:, COLUMN["activation"]] == ACTIVATIONS.index("clip"))
    far = elements * exponential * beyond(out, 4 * L2_BYTES)
    fused = [behind, elements * exponential, clipped, far]
    amounts = [np.ones(len(rows)), done.flops * ~done.apart, into, out, weights, *fused, amount(rows, "log_rows")]
    moved = _moved(rows, into, out, geometry)
    aliased = _aliased(rows) * (4 * elements * exponential + moved[-1])
    amounts += [done.flops * done.apart, done.streamed, *moved, aliased]
    return np.column_stack([*amounts, _from_memory(rows, into + out, weights, geometry)])


def _moved(rows: Matrix, into: Vector, out: Vector, geometry: Geometry) -> tuple[Vector, Vector, Vector]:
    """[n] bytes that are moved, three times those that cost more.

    Beyond a core's own cache; while other threads wait; and as blocked images that are taken apart for it.
    """
    both = (into + out) * (rows[:, COLUMN["family_data_movement"]] > 0)
    each = into / np.maximum(rows[:, COLUMN["inputs"]], 1.0)
    return (
        both * beyond(into + out, L2_BYTES, octaves=2.0),
        both * (each < _SHARED_OUT),
        both * unblocked(rows, geometry),
    )


def _aliased(rows: Matrix) -> npt.NDArray[np.bool_]:
    """[n] whether planes of the output's channels lie whole pages apart."""
    plane = rows[:, COLUMN["h_out"]].astype(np.float64) * rows[:, COLUMN["w_out"]] * rows[:, COLUMN["bits"]] / 8
    found: npt.NDArray[np.bool_] = (rows[:, COLUMN["rank"]] == IMAGE_RANK) & (plane > 0) & (plane % _PAGE == 0)
    return found


def _from_memory(rows: Matrix, activations: Vector, weights: Vector, geometry: Geometry) -> Vector:
    """[n] bytes that a kernel waits for; of a table only those count that it reads, which are as many as it writes."""
    read = weights + activations
    light = activations * beyond(activations, geometry.cache_bytes) * LIGHT[family_codes(rows)]
    few = read * beyond(activations + _COPIES * weights, geometry.weight_cache_bytes) * few_rows(rows)
    found: Vector = light + few
    return found


def few_rows(rows: Matrix) -> npt.NDArray[np.bool_]:
    """[n] whether it is a product that waits for its weights."""
    found: npt.NDArray[np.bool_] = (rows[:, COLUMN["family_matmul"]] > 0) & (rows[:, COLUMN["h_out"]] <= _FEW_ROWS)
    return found
