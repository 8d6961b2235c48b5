"""Which of its kernels a phone's GPU delegate takes, as far as shapes decide (TensorFlow Lite).

Weights few enough for constant memory, with at most eight slices of outputs, make a kernel that reads every input once
and is two to three times as fast (`conv_constants.cc`); enough channels and tiles make Winograd's
(`operation_selector.cc`). How much is enough depends on the GPU, which no table names, so that the limits stand side by
side.
"""

from __future__ import annotations

import numpy as np

from autotune.predictor.tables.operators import Mask, Vector

CONSTANT_BYTES = (1024, 2560, 3584)
"""Weights in half precision that fit: elsewhere, on Adreno 5xx and older, on Adreno 6xx."""
WINOGRAD = ((16, 32), (32, 64), (32, 128))
"""Least slices of channels and least tiles of four by four: elsewhere, on Adreno 5xx and older, on Adreno 6xx."""
_SLICES = 8
_BYTES = 2


def constant_bytes(kernel: Vector, into: Vector, out: Vector) -> Vector:
    """[n] bytes of a convolution's weights as constants, infinite where it has too many outputs.

    Args:
        kernel: [n] side of the window.
        into: [n] input channels.
        out: [n] output channels.
    """
    in_slices, out_slices = np.ceil(into / 4), np.ceil(out / 4)
    by_output = (out % 4 > 0) & ((into % 4 == 0) | (out * in_slices < into * out_slices))
    weights = kernel**2 * np.where(by_output, out * in_slices, into * out_slices) * 4
    found: Vector = np.where(out_slices <= _SLICES, _BYTES * weights, np.inf)
    return found


def chosen(suited: Mask, winograd: Mask, kernel: Vector, into: Vector, out: Vector, side: Vector) -> dict[str, Vector]:
    """Features of 0 and 1: whether each rule takes a special kernel.

    Args:
        suited: [n] convolutions and dense layers of one group.
        winograd: [n] convolutions that may be Winograd's.
        kernel: [n] side of the window.
        into: [n] input channels.
        out: [n] output channels.
        side: [n] of the output, in pixels.
    """
    weights = constant_bytes(kernel, into, out)
    found = {f"constants_{most}": (suited & (weights <= most)).astype(np.float64) for most in CONSTANT_BYTES}
    slices, tiles = np.ceil(np.minimum(into, out) / 4), np.ceil(side / 4) ** 2
    for depth, least in WINOGRAD:
        taken = winograd & (slices >= depth) & (tiles >= least)
        found[f"winograd_{depth}_{least}"] = taken.astype(np.float64)
    return found


def joined(first: Vector, out: Vector, inputs: Vector) -> tuple[Vector, Mask]:
    """Steps of a concatenation's loop over slices, one after the other in each thread, and whether it is unrolled.

    Whole slices are copied in a loop, two at a time where an input has an even number of them; where an input ends
    within a slice, all reads stand side by side (`concat_z.cc`). Inputs beyond the first are taken to be alike.

    Args:
        first: [n] channels of the first input.
        out: [n] channels of the output.
        inputs: [n] how many there are.
    """
    others = np.maximum(inputs - 1, 1)
    other = np.maximum(out - first, 0) / others
    unrolled: Mask = (first % 4 > 0) | (out % 4 > 0) | (other % 4 > 0) & (inputs == 2)

    def steps(channels: Vector) -> Vector:
        slices = np.ceil(channels / 4)
        found: Vector = np.where(slices % 2 == 0, slices / 2, slices)
        return found

    return steps(first) + others * steps(other), unrolled
