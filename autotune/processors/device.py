"""The machine that measures."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from autotune.core import Device

CGROUPS = Path("/sys/fs/cgroup")
FEATURES = {
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8", "asimd", "asimddp", "asimdhp", "fphp", "sve", "sve2",
    "bf16", "i8mm",
}  # fmt: skip


@cache
def this_device() -> Device:
    """The machine that runs this process; cores are those that this process may use."""
    name, flags = _processor()
    memory = _memory_bytes()
    cores = usable_cores()
    features = tuple(sorted(FEATURES & flags))
    facts = "|".join([name, platform.machine(), str(len(cores)), str(round(memory / 2**30)), ",".join(features)])
    return Device(
        id=hashlib.sha256(facts.encode()).hexdigest()[:12],
        name=name,
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cores=cores,
        memory_bytes=memory,
        features=features,
    )


def usable_cores() -> tuple[int, ...]:
    """Cores of the affinity mask, fewer where the control group's quota is smaller."""
    try:
        cores = sorted(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity masks in Python
        cores = list(range(os.cpu_count() or 1))
    quota = cpu_quota()
    return tuple(cores[: max(1, round(quota))] if quota is not None and quota < len(cores) else cores)


def cpu_quota(*, root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores that the control groups of this process allow, the tightest of them; None without a limit.

    Args:
        root: where control groups are mounted.
        own: file that names this process's groups.
    """
    limits = [_quota_v1(root / "cpu")]
    try:
        group = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::")).strip("/")
    except (OSError, StopIteration):
        group = ""
    for place in (root / group, *(root / group).parents):  # a limit on a parent holds for its children
        limits.append(_quota_v2(place))
        if place == root:
            break
    found = [limit for limit in limits if limit is not None]
    return min(found) if found else None


def _quota_v2(place: Path) -> float | None:
    try:
        limit, period = (place / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(place: Path) -> float | None:
    try:
        limit = int((place / "cpu.cfs_quota_us").read_text())
        return None if limit < 0 else limit / int((place / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _processor() -> tuple[str, set[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return _processor_elsewhere()
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or fields.get("Hardware") or fields.get("Model") or _board() or platform.machine()
    return name, set((fields.get("flags") or fields.get("Features") or "").split())


def _board() -> str:
    """A board's name from its device tree, where the processor has none in /proc/cpuinfo (Arm)."""
    try:
        return Path("/proc/device-tree/model").read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _processor_elsewhere() -> tuple[str, set[str]]:
    name = platform.processor() or platform.machine()
    if platform.system() == "Darwin":
        found = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        name = found.stdout.strip() or name
    return name, set()


def _memory_bytes() -> int:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _windows_memory()


def _windows_memory() -> int:
    total = ctypes.c_ulonglong(0)
    kernel32 = getattr(ctypes, "windll", None)
    if kernel32 is not None:
        kernel32.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(total))
    return total.value * 1024


def cpu_vendor() -> str:
    """`Intel`, `AMD`, `Apple`, `Arm` or empty, from the processor's name."""
    name = this_device().name.lower()
    return next((vendor for vendor in ("Intel", "AMD", "Apple", "Arm") if vendor.lower() in name), "")
