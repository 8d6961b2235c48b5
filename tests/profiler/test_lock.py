"""One measurement at a time per device; noise and provenance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.core import Protocol
from autotune.errors import DeviceBusyError
from autotune.processors import discover, this_device
from autotune.profiler import device_lock, identity, noise_check, notes

HOLD = """
import sys, time
from pathlib import Path
from autotune.profiler import device_lock
with device_lock(Path(sys.argv[1]), wait_s=0):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_waits_and_then_names_the_first(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        told: list[int] = []
        with (
            pytest.raises(DeviceBusyError, match=f"process {holder.pid}"),
            device_lock(tmp_path, wait_s=0.2, on_wait=told.append),
        ):
            pass
        assert told == [holder.pid]
    finally:
        holder.kill()
        holder.communicate()
    with device_lock(tmp_path, wait_s=30.0):  # the lock of a killed process is free
        assert (tmp_path / "measuring.pid").read_text() == str(os.getpid())
    assert not (tmp_path / "measuring.pid").exists()


def test_the_noise_report_has_a_spread_and_facts() -> None:
    report = noise_check(seconds=0.05)
    assert report.spread >= 0
    assert report.load_average >= 0


def test_identity_names_device_provider_and_runtime() -> None:
    found = discover()
    tag = identity(this_device(), found.get("cpu"), found, Protocol.MARGINAL)
    assert tag.device == this_device().id
    assert tag.provider.startswith("CPUExecutionProvider ")
    assert tag.runtime == found.runtime
    assert notes(sentinel_ratio=1.1).sentinel_ratio == 1.1
