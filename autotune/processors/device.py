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


def cpu_quota() -> float | None:
    """Cores that the control group allows, None without a limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
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
    name = fields.get("model name") or fields.get("Hardware") or fields.get("Model") or platform.machine()
    return name, set((fields.get("flags") or fields.get("Features") or "").split())


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
