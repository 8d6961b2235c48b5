"""One measurement at a time per device; noise and provenance."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.core import Protocol
from autotune.errors import DeviceBusyError
from autotune.processors import discover, this_device
from autotune.profiler import device_lock, fastest_us, identity, noise_check, notes
from autotune.profiler.lock import SHARED_FILE

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a user's temporary folder is that user's own")

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


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that all homes lock."""
    monkeypatch.setenv("AUTOTUNE_LOCKS", str(tmp_path))
    return tmp_path / SHARED_FILE


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Path, Path]:
    """Two of them."""
    found = tmp_path / "one", tmp_path / "two"
    for home in found:
        home.mkdir()
    return found


@POSIX
def test_a_process_of_another_home_is_waited_for_too(homes: tuple[Path, Path], shared: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(homes[0])], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        told: list[int] = []
        known = other.pid if Path("/proc/locks").exists() else 0
        who = f"process {known}" if known else "another process"
        with pytest.raises(DeviceBusyError, match=who), device_lock(homes[1], wait_s=0.2, on_wait=told.append):
            pass
        assert told == [known]
        other.kill()
    with device_lock(homes[1], wait_s=30.0):
        assert shared.read_bytes() == b""


@POSIX
def test_every_user_may_open_the_shared_file(homes: tuple[Path, Path], shared: Path) -> None:
    before = os.umask(0o077)
    try:
        with device_lock(homes[0], wait_s=0):
            assert shared.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


@POSIX
@pytest.mark.parametrize("kind", ["a link", "a folder that is not there"])
def test_without_a_shared_file_each_home_looks_after_itself(
    homes: tuple[Path, Path], shared: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    letter = shared.with_name("letter.txt")
    if kind == "a link":
        letter.write_text("dear")
        shared.symlink_to(letter)
    else:
        monkeypatch.setenv("AUTOTUNE_LOCKS", str(shared.parent / "nowhere"))
    with (
        device_lock(homes[0], wait_s=0),
        device_lock(homes[1], wait_s=0),
        pytest.raises(DeviceBusyError),
        device_lock(homes[0], wait_s=0),
    ):
        pass
    assert kind != "a link" or letter.read_text() == "dear"


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


def test_how_fast_a_lane_was_counts_only_in_circumstances_like_now() -> None:
    now = notes(sentinel_us=8.0)
    unknown, other = replace(now, sentinel_us=0.0), replace(now, governor="another", sentinel_us=4.0)
    assert fastest_us([now, unknown, other, replace(now, sentinel_us=9.0)]) == 8.0
    assert fastest_us([unknown, other]) == 0.0
