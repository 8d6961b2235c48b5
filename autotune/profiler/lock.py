"""One measurement at a time per device, across processes, homes and users."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from autotune.errors import DeviceBusyError, StoreError

LOCK_FILE = "measuring.lock"
PID_FILE = "measuring.pid"
SHARED_FILE = "autotune-measuring.lock"
POLL_S = 0.05

OnWait = Callable[[int], None]


@contextmanager
def device_lock(home: Path, *, wait_s: float, on_wait: OnWait | None = None) -> Iterator[None]:
    """Holds the device while measuring: the lock of the home, then the one of all homes and users of the machine.

    Args:
        home: folder of the first.
        wait_s: seconds to wait for another process of this home, and then for one of another home.
        on_wait: told which process it waits for (0: unknown).

    Raises:
        DeviceBusyError: the other process still measures after `wait_s`.
        StoreError: the folder cannot be written.
    """
    with _home_lock(home, wait_s, on_wait), _machine_lock(wait_s, on_wait):
        yield


def holder(home: Path) -> int:
    """The process of this home that measures, 0 where it is unknown."""
    try:
        return int((home / PID_FILE).read_text())
    except (OSError, ValueError):
        return 0


@contextmanager
def _home_lock(home: Path, wait_s: float, on_wait: OnWait | None) -> Iterator[None]:
    lock = FileLock(home / LOCK_FILE)

    def take() -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    try:
        _wait_for(take, lambda: holder(home), wait_s, on_wait)
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


@contextmanager
def _machine_lock(wait_s: float, on_wait: OnWait | None) -> Iterator[None]:
    """Where its file cannot be opened, each home looks after itself."""
    file = _shared_file()
    if file is None:
        yield
        return
    try:
        _wait_for(lambda: _locked(file), lambda: _locker(file), wait_s, on_wait)
        yield
    finally:
        os.close(file)  # which lets go of the lock


def _wait_for(take: Callable[[], bool], who: Callable[[], int], wait_s: float, on_wait: OnWait | None) -> None:
    """Takes a lock as soon as the process that has it lets go."""
    if take():
        return
    if on_wait is not None:
        on_wait(who())
    until = time.monotonic() + wait_s
    while not take():
        if time.monotonic() >= until:
            raise DeviceBusyError(
                f"{named(who())} still measures on this device after {wait_s:.0f} s of waiting: "
                "let it finish, or end it"
            )
        time.sleep(POLL_S)


def named(pid: int) -> str:
    """A process in a message."""
    return f"process {pid}" if pid else "another process"


def _shared_file() -> int | None:
    """The file that all users of the machine lock, open; None where there is none.

    It lies in a folder that everybody may write (`AUTOTUNE_LOCKS`, else the one for temporary files): so it is never
    written, which a lock does not need, and a link in its place is not followed.
    """
    if sys.platform == "win32":  # there a user's temporary files are in a folder of that user
        return None
    path = Path(os.environ.get("AUTOTUNE_LOCKS") or tempfile.gettempdir()) / SHARED_FILE
    careful = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with contextlib.suppress(FileExistsError):
            file = os.open(path, os.O_CREAT | os.O_EXCL | careful, 0o644)
            os.fchmod(file, 0o644)  # others may open it, whatever the umask
            return file
        return os.open(path, careful)
    except OSError:
        return None


def _locked(file: int) -> bool:
    """Whether the lock on an open file is ours now; so it counts where the file system knows no locks."""
    import fcntl  # not on Windows

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _locker(file: int) -> int:
    """The process that has the lock on an open file, 0 where it is unknown: only Linux says it."""
    found = os.fstat(file)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return next((int(lock[4]) for lock in locks if lock[1] == "FLOCK" and lock[5] == place), 0)
    except (OSError, ValueError, IndexError):
        return 0
