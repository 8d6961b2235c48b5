"""How GPU delegates cut a convolution into threads: guesses that a device's own measurements choose between.

A thread computes bx × by pixels of bz slices of four channels. Which block a driver takes steps with the size of the
task (TensorFlow Lite, `conv_generic.cc`, GuessBestParams: Adreno by waves per unit, Mali by task size, PowerVR by
slices). How large the steps are on a given device is not in any table, so that several stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autotune.predictor.tables.operators import Vector

WAVES = (64, 128, 192, 256, 384, 512, 768, 1024)
"""Threads that the device runs at once, where the block grows by waves: 6, 12 and 24 of them."""
TASKS = (512, 1024, 2048, 4096, 8192, 16384)
"""Threads from which on a thread takes 2, then (twice as many) 4, then 8 outputs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Launch:
    """One guess, for n convolutions.

    Args:
        name: of the guess.
        threads: [n] how many are started.
        block: [n] outputs (of four channels) that each computes.
        padding: [n] outputs computed over outputs needed, ≥ 1.
    """

    name: str
    threads: Vector
    block: Vector
    padding: Vector


def launches(out_side: Vector, out_slices: Vector) -> Iterator[Launch]:
    """Every guess.

    Args:
        out_side: [n] height and width of the output, in pixels.
        out_slices: [n] output channels over four, rounded up.
    """
    pixels = out_side**2
    one = np.ones_like(pixels)
    for waves in WAVES:
        many = pixels * out_slices / waves
        x, y, z = np.where(many > 6, 2, 1), np.where(many > 24, 2, 1), np.where(many > 12, 2, 1)
        yield _launch(f"waves{waves}", out_side, out_slices, (x, y, z))
    for tasks in TASKS:
        many = pixels * out_slices / tasks
        odd = (out_slices == 1) | (out_slices == 3)
        x = np.where(many >= 1, 2, 1)
        y = np.where((many >= 4) | ((many >= 2) & odd), 2, 1)
        z = np.where((many >= 2) & ~odd, 2, 1)
        yield _launch(f"tasks{tasks}", out_side, out_slices, (x, y, z))
    deep = _slices_per_thread(out_slices)
    yield _launch("slices8", pixels, out_slices, (one, None, deep))
    yield _launch("slices4", pixels, out_slices, (2 * one, None, np.minimum(deep, 4)))
    yield _launch("fixed222", out_side, out_slices, (2 * one, 2 * one, 2 * one))
    yield _launch("fixed114", out_side, out_slices, (one, one, 4 * one))


def _slices_per_thread(slices: Vector) -> Vector:
    small = np.where((slices % 2 == 0) | (slices >= 4), 2.0, slices)
    medium = np.where((slices % 4 == 0) | (slices >= 8), 4.0, small)
    return np.where((slices % 8 == 0) | (slices >= 32), 8.0, medium)


def _launch(name: str, side: Vector, slices: Vector, block: tuple[Vector, Vector | None, Vector]) -> Launch:
    """A grid over columns, rows and slices; over all pixels in one line where the block has no rows."""
    x, y, z = block
    spatial = np.ceil(side / x) * (np.ceil(side / y) if y is not None else 1.0)
    outputs = x * (y if y is not None else 1.0) * z
    needed = (side**2 if y is not None else side) * slices
    threads = spatial * np.ceil(slices / z)
    return Launch(name=name, threads=threads, block=outputs, padding=threads * outputs / needed)
