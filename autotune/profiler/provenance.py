"""Identity and notes of measurements."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from autotune.core import Device, Identity, Notes, Processor, Protocol, fastest_sentinel_us
from autotune.processors import Discovery

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def identity(device: Device, processor: Processor, discovery: Discovery, protocol: Protocol) -> Identity:
    """What decides which measurements may be mixed."""
    return Identity(
        device=device.id,
        provider=f"{processor.provider} {processor.version}",
        runtime=discovery.runtime,
        protocol=protocol,
    )


def notes(*, sentinel_ratio: float = 1.0, sentinel_us: float = 0.0) -> Notes:
    """The circumstances now."""
    import autotune

    return Notes(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=autotune.__version__,
        governor=governor(),
        power_source=power_source(),
        load_average=load_average(),
        sentinel_ratio=sentinel_ratio,
        sentinel_us=sentinel_us,
    )


def fastest_us(known: Iterable[Notes]) -> float:
    """What a lane's sentinel took at its fastest under the governor and power source of now, in µs; 0 if unknown."""
    source = governor(), power_source()
    return fastest_sentinel_us(one for one in known if (one.governor, one.power_source) == source)


def governor() -> str:
    """CPU frequency governor, empty where unknown."""
    try:
        return GOVERNOR.read_text().strip()
    except OSError:
        return ""


def power_source() -> str:
    """`mains`, `battery`, or empty where there is no battery."""
    import psutil

    try:
        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except (OSError, RuntimeError):
        return ""
    if battery is None:
        return ""
    return "mains" if battery.power_plugged else "battery"


def load_average() -> float:
    """One-minute load average, 0 where there is none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
