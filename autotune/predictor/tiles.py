"""What blocked convolutions and pools compute: ONNX Runtime's NCHWc kernels (MLAS, `snchwc.cpp`, `SconvKernel*.S`).

Work is shared out as rows of the output, set by set of up to four tiles of channels. Along a row, columns are computed
by six, then by three, two and one (by three, two and one with AVX2); those whose window reaches into the padding one by
one, without what lies there. A step, one tap of one input channel, takes a multiplication per vector, or the latency of
one, or reading vectors and weights, whichever is longest: so few columns cost as much as several. What was added up is
written once for each block of input channels. Depthwise convolutions and pools go tile by tile, so that beginning a row
counts too.

What is not blocked (channels that are no multiple of four, groups that do not fill tiles, one-dimensional
convolutions) is computed in another way, at a price of its own.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autotune.predictor.features import COLUMN, L2_BYTES, Matrix, amount
from autotune.predictor.geometry import Geometry, beyond
from autotune.predictor.shapes import MAIN_OPS

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SET = 4
"""Tiles of a set. Threads share out rows of sets: of 80 output channels in tiles of 16, the second of two threads gets
the rows of one tile, and the first those of four."""
_COLUMNS = (6, 3, 2, 1)
"""Computed at once, the largest that a lane has first."""
_FORWARD = [MAIN_OPS.index(name) for name in ("Conv", "FusedConv", "ConvInteger", "QLinearConv")]
_POOLS = [MAIN_OPS.index(name) for name in ("AveragePool", "MaxPool")]
_OTHERWISE = [MAIN_OPS.index(name) for name in ("Split", "Slice", "Pad", "DepthToSpace", "SpaceToDepth")]
"""Operators on images that have no blocked form."""
_PER_CYCLE = 2
"""Vectors that are multiplied, or read, in a cycle."""
_LATENCY = 4
"""Cycles until what was multiplied can be added to."""
_POOLED = 2.5
"""Cycles of a step of pooling at least: maxima and sums of short windows wait for nothing but the loop around them."""
_CALL = 100
"""Cycles that a row of a depthwise convolution or pool takes beside its steps; in other rows they are nothing."""
_ALIGNED = 4
"""Channels of which blocked convolutions take a multiple."""
_POINTWISE = 128
"""Input channels that a window of one adds up before it writes."""
IMAGE_RANK = 4
"""Of an image."""


class _Windows(NamedTuple):
    """Dimensions of convolutions and pools, as they are computed.

    Of a depthwise convolution, and of a pool, all channels are one group's outputs, each of one input.
    """

    groups: Vector
    inputs: Vector
    outputs: Vector
    depthwise: Mask
    height: Vector
    width: Vector
    window_h: Vector
    window_w: Vector
    into_h: Vector
    into_w: Vector
    stride: Vector
    dilation: Vector
    images: Mask
    pools: Mask

    @classmethod
    def of(cls, rows: Matrix) -> _Windows:
        def column(name: str) -> Vector:
            return np.maximum(rows[:, COLUMN[name]].astype(np.float64), 1.0)

        pools = np.isin(rows[:, COLUMN["main_op"]], _POOLS)
        groups = np.where(pools, column("c_in"), column("groups"))
        inputs, outputs = (np.maximum(np.floor(column(name) / groups), 1.0) for name in ("c_in", "c_out"))
        depthwise = pools | (groups > 1) & (inputs == 1)
        return cls(
            groups=column("n") * np.where(depthwise, 1.0, groups),
            inputs=inputs,
            outputs=outputs * np.where(depthwise, groups, 1.0),
            depthwise=depthwise,
            height=column("h_out"),
            width=column("w_out"),
            window_h=column("kernel_h"),
            window_w=column("kernel_w"),
            into_h=column("h_in"),
            into_w=column("w_in"),
            stride=column("stride"),
            dilation=column("dilation"),
            images=rows[:, COLUMN["rank"]] == IMAGE_RANK,
            pools=pools,
        )


def tiled(rows: Matrix) -> Mask:
    """[n] whether it is a convolution or pool that may compute tiles of output channels."""
    families = (rows[:, COLUMN["family_convolution"]] > 0) | (rows[:, COLUMN["family_depthwise"]] > 0)
    found: Mask = families & np.isin(rows[:, COLUMN["main_op"]], _FORWARD) | np.isin(rows[:, COLUMN["main_op"]], _POOLS)
    return found


class Work(NamedTuple):
    """What kernels make a processor do.

    Args:
        flops: [n] of which the busiest thread is capable while it computes, times threads.
        apart: [n] which convolutions and pools are not blocked.
        streamed: [n] bytes that a core's own cache does not hold, as often as they are read.
    """

    flops: Vector
    apart: Mask
    streamed: Vector


def unblocked(rows: Matrix, geometry: Geometry) -> Mask:
    """[n] whether it moves images that are blocked between convolutions, and cannot do so blocked."""
    if not geometry.columns:
        return np.zeros(len(rows), dtype=bool)
    whole = (rows[:, COLUMN["c_in"]] % geometry.tile == 0) & (rows[:, COLUMN["rank"]] == IMAGE_RANK)
    found: Mask = whole & np.isin(rows[:, COLUMN["main_op"]], _OTHERWISE)
    return found


def work(rows: Matrix, geometry: Geometry) -> Work:
    """What kernels make a processor do; without tiles all is as their FLOPs say."""
    found = Work(amount(rows, "log_flops"), np.zeros(len(rows), dtype=bool), np.zeros(len(rows)))
    chosen = tiled(rows)
    if geometry.tile and chosen.any():
        own = _Windows.of(rows[chosen])
        capable = 2 * _PER_CYCLE * geometry.tile * geometry.threads * _busiest(own, geometry)
        found.apart[chosen] = apart = _apart(own, geometry)
        found.flops[chosen] = np.where(apart, found.flops[chosen], capable)
        if geometry.columns:
            found.streamed[chosen] = np.where(apart | own.depthwise, 0.0, _streamed(own, rows[chosen], geometry))
    return found


def _streamed(own: _Windows, rows: Matrix, geometry: Geometry) -> Vector:
    """[n] bytes of what is read for each set again (inputs) or for each row again (a set's weights)."""
    sets = np.ceil(np.ceil(own.outputs / geometry.tile) / SET)
    into, weights = amount(rows, "log_bytes_in"), amount(rows, "log_weight_bytes")
    again = np.where(_joined(own, geometry), 0.0, own.height - 1.0)
    found: Vector = into * sets * beyond(into, L2_BYTES)
    found += weights * (beyond(weights, L2_BYTES) + again * beyond(weights / sets, L2_BYTES))
    return found


def _joined(own: _Windows, geometry: Geometry) -> Mask:
    """[n] whether rows are one long row."""
    found: Mask = (own.window_h * own.window_w * own.stride == 1) & (own.inputs >= geometry.tile)
    return found


def _apart(own: _Windows, geometry: Geometry) -> Mask:
    """[n] which are not blocked."""
    if not geometry.columns:
        return np.zeros(len(own.groups), dtype=bool)
    odd = np.where(own.depthwise, own.outputs, np.where(own.inputs < geometry.tile, 0.0, own.inputs)) % _ALIGNED
    grouped = (own.groups > 1) & ~own.depthwise
    unfilled = grouped & ((own.inputs % geometry.tile > 0) | (own.outputs % geometry.tile > 0))
    unfilled |= own.pools & (own.outputs % geometry.tile > 0)
    result: Mask = ~own.images | (odd > 0) | unfilled
    return result


def _busiest(own: _Windows, geometry: Geometry) -> Vector:
    """[n] cycles of the thread that has most to do."""
    tiles, most = np.ceil(own.outputs / geometry.tile), np.where(own.depthwise, 1.0, SET)
    sets = np.ceil(tiles / most)
    last = tiles - most * (sets - 1.0)
    whole, rest = _row(own, np.stack([most, last]), geometry)
    images = whole * (sets - 1.0) + rest

    def before(row: Vector) -> Vector:
        """Cycles of the first rows of sets: set by set, group by group."""
        group, within = np.divmod(row, sets * own.height)
        at, line = np.divmod(within, own.height)
        found: Vector = own.height * (group * images + at * whole) + line * np.where(at < sets - 1.0, whole, rest)
        return found

    each, over = np.divmod(own.groups * sets * own.height, geometry.threads)
    ends = [thread * each + np.minimum(thread, over) for thread in range(geometry.threads + 1)]
    done = [before(end) for end in ends]
    found: Vector = np.max([after - begin for begin, after in pairwise(done)], axis=0)
    return found


def _row(own: _Windows, tiles: Vector, geometry: Geometry) -> Vector:
    """[2, n] cycles of a row of a set that has so many tiles, [2, n], in the mean over rows."""
    if not geometry.columns:
        return own.width * own.window_h * own.window_w * own.inputs * tiles / _PER_CYCLE
    pairs, inner = _along(own.width, own.into_w, own.window_w, own)
    lines, _ = _along(own.height, own.into_h, own.window_h, own)
    few = own.inputs < geometry.tile
    inputs = np.where(few, own.inputs, geometry.tile * np.ceil(own.inputs / geometry.tile))
    single = (own.window_h == 1) & (own.window_w == 1)
    steps, left, least = np.zeros(tiles.shape), inner, np.where(own.pools, _POOLED, _LATENCY)
    for size in _COLUMNS:
        if size <= geometry.columns:
            count, left = np.divmod(left, size)
            steps += count * _step(size, tiles, least)
    along = steps * own.window_w + (pairs - inner * own.window_w) * _step(1, tiles, least)
    joined = own.width / geometry.columns * _step(geometry.columns, tiles, least)
    along = np.where(_joined(own, geometry), joined, along)
    written = np.where(few, inputs, np.where(single, np.ceil(inputs / _POINTWISE), inputs / geometry.tile))
    found: Vector = along * lines / own.height * inputs + own.width * tiles * written + _CALL * own.depthwise
    return found


def _step(columns: int, tiles: Vector, least: Vector) -> Vector:
    """Cycles of one tap of one input channel, by tiles."""
    found: Vector = np.maximum(np.maximum(columns * tiles, columns + tiles) / _PER_CYCLE, least)
    return found


def _along(out: Vector, into: Vector, window: Vector, own: _Windows) -> tuple[Vector, Vector]:
    """[n] pairs of outputs and taps that do not lie in the padding, along one axis, and outputs with all taps."""
    span = (window - 1.0) * own.dilation
    padding = np.floor(np.maximum((out - 1.0) * own.stride + span + 1.0 - into, 0.0) / 2)
    pairs, first, last = np.zeros(len(out)), np.zeros(len(out)), out - 1.0
    for tap in range(int(window.max())):
        there = tap < window
        at = tap * own.dilation - padding
        begin = np.ceil(np.maximum(-at, 0.0) / own.stride)
        end = np.minimum(np.floor((into - 1.0 - at) / own.stride), out - 1.0)
        pairs += there * np.maximum(end - begin + 1.0, 0.0)
        first, last = np.where(there, np.maximum(first, begin), first), np.where(there, np.minimum(last, end), last)
    return pairs, np.maximum(last - first + 1.0, 0.0)
