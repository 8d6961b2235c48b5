"""What can be a latency, and what shows that a table is in another unit."""

from __future__ import annotations

import re

ABSURD_US = 3.6e9
"""An hour: no kernel, stage or model takes as long."""
PLAUSIBLE_MEDIAN_US = (0.02, 6e8)
"""A table whose median lies outside is taken for one in another unit."""
DEVICES = ("cpu", "gpu", "npu")
_PROCESSOR = re.compile(rf"cpu|[a-z0-9_-]+:({'|'.join(DEVICES)})")


def processor_problem(name: str) -> str:
    """Why this is no processor's name; empty if it is one."""
    if _PROCESSOR.fullmatch(name):
        return ""
    return f"unknown processor {name!r}: `cpu`, or a provider and one of {', '.join(DEVICES)}, such as `openvino:cpu`"


def unit_problem(median_us: float) -> str:
    """Why a table with this median is in another unit than microseconds; empty if it may well be in them."""
    low, high = PLAUSIBLE_MEDIAN_US
    return "" if low <= median_us <= high else f"the median would be {median_us:.3g} µs: the table is in another unit"
