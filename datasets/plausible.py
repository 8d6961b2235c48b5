"""What can be a latency, and what shows that a table is in another unit."""

from __future__ import annotations

import re

from autotune.core import Lane

ABSURD_US = 3.6e9
"""An hour: no kernel, stage or model takes as long."""
RECORDS_MEDIAN_US = (0.02, 1e6)
"""Records whose median lies outside are taken for ones in another unit; marginal costs can be next to nothing."""
TABLE_MEDIAN_US = {"kernel": (3.0, 7e4), "transfer": (3.0, 7e4), "model": (200.0, 4e6)}
"""Level of a public table -> the same for the median of all its latencies.

The known tables' medians lie 30 times and more inside (0.1 to 1.4 ms, models 6 to 130 ms), and a thousandth or a
thousand times each of them lies outside.
"""
DEVICE_SLACK = 30.0
"""One device alone may be so many times beyond what is asked of the whole table."""
FASTEST_FLOPS = {"cpu": 2e13, "other": 1e15}
"""FLOP/s that no lane reaches over all its convolutions and products together: a CPU in f32 (96 cores of AVX-512 at
their peak), and anything else."""
SLOWEST_FLOPS, LAUNCH_US = 1e8, 1e3
"""FLOP/s below which no CPU in f32 falls (a core of a Cortex-A53 reaches ten times that), beside what a launch takes at
the most; accelerators that are emulated may be slower."""
APART = 100.0
"""A device that differs from others by this factor on the same rows is in another unit; the known tables' differ by up
to 31 (a Jetson Nano beside desktop GPUs)."""
LEAST_SHARED, MOST_COMPARED = 10, 2000
"""Rows that two devices must share before they are compared, and how many rows of a table are looked at for it."""
DEVICES = ("cpu", "gpu", "npu")
_PROCESSOR = re.compile(rf"cpu|[a-z0-9_-]+:({'|'.join(DEVICES)})")


def processor_problem(name: str) -> str:
    """Why this is no processor's name; empty if it is one."""
    if _PROCESSOR.fullmatch(name):
        return ""
    return f"unknown processor {name!r}: `cpu`, or a provider and one of {', '.join(DEVICES)}, such as `openvino:cpu`"


def unit_problem(median_us: float, between: tuple[float, float] = RECORDS_MEDIAN_US) -> str:
    """Why a table with this median is in another unit than microseconds; empty if it may well be in them."""
    low, high = between
    if low <= median_us <= high:
        return ""
    return f"the median would be {median_us:.3g} µs, {low:.3g} to {high:.3g} µs are plausible: it is in another unit"


def rate_problem(lane: Lane, flops: float, spent_us: float, kernels: int = 1) -> str:
    """Why a lane's latencies are in another unit, from what it would compute in a second; empty if it may well.

    Args:
        lane: which one.
        flops: of convolutions and products of matrices, which nothing can fuse away, all together.
        spent_us: their latencies, together.
        kernels: how many they are.
    """
    on_cpu = lane.on_cpu and lane.precision.is_reference
    fastest = FASTEST_FLOPS["cpu" if on_cpu else "other"]
    rate = flops / spent_us * 1e6
    if rate > fastest:
        return f"{lane} would compute {rate:.3g} FLOP/s, no such lane reaches {fastest:.0e}: it is in another unit"
    if on_cpu and flops < SLOWEST_FLOPS * (spent_us - LAUNCH_US * kernels) * 1e-6:
        return f"{lane} would compute {rate:.3g} FLOP/s, any such lane {SLOWEST_FLOPS:.0e}: it is in another unit"
    return ""
