"""One measurement at a time per device, across processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from autotune.errors import DeviceBusyError, StoreError

LOCK_FILE = "measuring.lock"
PID_FILE = "measuring.pid"


@contextmanager
def device_lock(home: Path, *, wait_s: float, on_wait: Callable[[int], None] | None = None) -> Iterator[None]:
    """Holds the device while measuring.

    Args:
        home: folder of the lock.
        wait_s: seconds to wait for another process.
        on_wait: told once which process it waits for (0: unknown).

    Raises:
        DeviceBusyError: the other process still measures after `wait_s`.
        StoreError: the folder cannot be written.
    """
    lock = FileLock(home / LOCK_FILE)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            pid = holder(home)
            if on_wait is not None:
                on_wait(pid)
            lock.acquire(timeout=wait_s)
    except Timeout as error:
        raise DeviceBusyError(
            f"process {holder(home)} still measures on this device after {wait_s:.0f} s of waiting: "
            "let it finish, or end it"
        ) from error
    except OSError as error:
        raise StoreError(f"{home} cannot be written ({error.strerror}): set AUTOTUNE_HOME to another folder") from error
    try:
        with contextlib.suppress(OSError):
            (home / PID_FILE).write_text(str(os.getpid()))
        yield
    finally:
        with contextlib.suppress(OSError):
            (home / PID_FILE).unlink()
        lock.release()


def holder(home: Path) -> int:
    """The process that measures, 0 where it is unknown."""
    try:
        return int((home / PID_FILE).read_text())
    except (OSError, ValueError):
        return 0
