"""How noisy the machine is, and what could spoil a measurement."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotune.processors import this_device
from autotune.profiler.provenance import governor, load_average, power_source

NOISY = 0.10
CPU_STAT = Path("/sys/fs/cgroup/cpu.stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseReport:
    """What was found before measuring.

    Args:
        spread: (90th percentile − median) / median of a fixed workload.
        governor: CPU frequency governor, empty where unknown.
        power_source: `mains`, `battery` or empty.
        load_average: one-minute load average.
        throttled: periods in which the control group's quota stopped this process so far.
        warnings: what the user should know.
    """

    spread: float
    governor: str
    power_source: str
    load_average: float
    throttled: int
    warnings: tuple[str, ...]


def noise_check(*, seconds: float = 1.0) -> NoiseReport:
    """Times a fixed workload for a while and looks at what could spoil measurements."""
    spread = _spread(seconds)
    power, speed, load = power_source(), governor(), load_average()
    cores = len(this_device().cores)
    warnings = []
    if spread > NOISY:
        warnings.append(
            f"this machine is noisy: a fixed workload spreads by {spread:.0%}; results will be less certain."
        )
    if load > 0.5 * cores:
        warnings.append(f"other work is running (load average {load:.1f} on {cores} cores).")
    if power == "battery":
        warnings.append("running on battery: speeds differ from those on mains.")
    if speed in ("powersave", "conservative"):
        warnings.append(f"the CPU governor is {speed!r}: speeds follow the load.")
    return NoiseReport(
        spread=spread,
        governor=speed,
        power_source=power,
        load_average=load,
        throttled=throttled_periods(),
        warnings=tuple(warnings),
    )


def _spread(seconds: float) -> float:
    data = np.arange(1 << 14, dtype=np.float32)
    times = []
    end = time.perf_counter() + max(seconds, 0.02)
    while time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(40):
            np.sqrt(data, out=data)
            np.multiply(data, 1.5, out=data)
        times.append(time.perf_counter() - begin)
    middle = float(np.median(times))
    return float(np.percentile(times, 90) - middle) / middle


def throttled_periods() -> int:
    """Periods in which the control group's quota stopped this process, 0 where unknown."""
    try:
        for line in CPU_STAT.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "nr_throttled":
                return int(value)
    except (OSError, ValueError):
        return 0
    return 0
