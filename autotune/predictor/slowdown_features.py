"""What the slowdown predictor sees of two sides that run at the same time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import Kernel, Lane
from autotune.predictor.features import L2_BYTES, L3_BYTES, Feature
from autotune.predictor.prior import CLASSES, class_of

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

SLOWDOWN_FEATURES_VERSION = 1
"""Changes whenever a column changes its meaning; a saved predictor of another version is refused."""


def _side(side: str) -> tuple[Feature, ...]:
    columns = (
        ("log_us", "log2 µs", "short work is mostly launch, which nothing slows"),
        ("log_flop_rate", "log2 FLOP/µs", "how busy it keeps the arithmetic that cores may share"),
        ("log_byte_rate", "log2 byte/µs", "what it demands of caches and memory"),
        ("log_intensity", "log2 FLOP/byte", "which side of the roofline"),
        ("log_l2", "log2 ratio", "working set over the core's own cache: beyond it, it needs the shared one"),
        ("log_l3", "log2 ratio", "working set over half of the shared cache: beyond it, it needs memory"),
        *((f"share_{name}", "share", "which code runs, by bytes moved") for name in CLASSES),
        ("threads", "count", "threads of one inference"),
        ("bits", "bits", "width of the arithmetic"),
    )
    return tuple(Feature(name=f"{side}_{name}", unit=unit, reason=reason) for name, unit, reason in columns)


SIDE_COLUMNS = len(_side(""))
SLOWDOWN_FEATURES: tuple[Feature, ...] = (
    *_side("victim"),
    *_side("beside"),
    Feature(name="same_processor", unit="0/1", reason="two sessions of one provider share its locks and allocator"),
    Feature(name="same_lane", unit="0/1", reason="two streams of one session share more"),
    Feature(name="log_both_l3", unit="log2 ratio", reason="both working sets over the shared cache"),
    Feature(name="log_prior", unit="log2", reason="what sharing the bandwidth alone would do"),
)
SLOWDOWN_NAMES = tuple(feature.name for feature in SLOWDOWN_FEATURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Work as its neighbour sees it: a kernel, or a stage of several.

    Args:
        kernels: what runs.
        us: how long it takes while nothing else runs.
    """

    kernels: tuple[Kernel, ...]
    us: float


def load_row(load: Load) -> list[float]:
    """FLOPs, bytes moved, working set, µs, and shares of `CLASSES`: what does not depend on the lane."""
    moved = [kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes for kernel in load.kernels]
    activations = max(kernel.bytes_read + kernel.bytes_written for kernel in load.kernels)
    shares = [0.0] * len(CLASSES)
    for kernel, size in zip(load.kernels, moved, strict=True):
        shares[class_of(kernel.family)] += size + 1.0
    total = sum(shares)
    weights = sum(kernel.weight_bytes for kernel in load.kernels)
    flops = sum(kernel.flops for kernel in load.kernels)
    return [flops, sum(moved), weights + activations, load.us, *(share / total for share in shares)]


def load_rows(loads: Sequence[Load]) -> Vector:
    """[N, …] of `load_row`."""
    return np.array([load_row(load) for load in loads], dtype=np.float64)


def side_table(rows: Vector, lane: Lane) -> Vector:
    """[N, SIDE_COLUMNS] of loads on a lane."""
    flops, moved, working_set, us = rows[:, :4].T
    table = np.empty((len(rows), SIDE_COLUMNS))
    table[:, 0] = np.log2(us)
    table[:, 1] = np.log2((flops + 1) / us)
    table[:, 2] = np.log2((moved + 1) / us)
    table[:, 3] = np.log2((flops + 1) / (moved + 1))
    table[:, 4] = np.log2((working_set + 1) / L2_BYTES)
    table[:, 5] = np.log2((working_set + 1) / (L3_BYTES / 2))
    table[:, 6 : 6 + len(CLASSES)] = rows[:, 4:]
    table[:, -2] = lane.concurrency.threads or 1
    table[:, -1] = 32 if lane.precision.is_reference else 16
    return table


def pair_table(victims: Vector, besides: Vector, lanes: tuple[Lane, Lane], log_prior: Vector) -> Matrix:
    """Rows of `SLOWDOWN_FEATURES`, one per pair of rows.

    Args:
        victims: [N, SIDE_COLUMNS].
        besides: [N, SIDE_COLUMNS].
        lanes: victim's and neighbour's.
        log_prior: [N] natural logarithm of the prior's slowdown.
    """
    victim, beside = lanes
    table = np.empty((len(victims), len(SLOWDOWN_FEATURES)), dtype=np.float32)
    table[:, :SIDE_COLUMNS] = victims
    table[:, SIDE_COLUMNS : 2 * SIDE_COLUMNS] = besides
    table[:, -4] = victim.processor == beside.processor
    table[:, -3] = victim == beside
    table[:, -2] = np.log2((np.exp2(victims[:, 5]) + np.exp2(besides[:, 5])) / 2)
    table[:, -1] = log_prior / math.log(2.0)
    return table
