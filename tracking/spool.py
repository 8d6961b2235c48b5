"""Events on disk until MLflow has them: one file of JSON lines per search.

Lines: a head `{"schema_version": 1}`, then `{"event", "time_ms", "fields"}` for each event and `{"delivered",
"run_id"}` after each that MLflow has. A file whose lock nobody holds is a search that ended before MLflow had all.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from autotune.errors import SchemaVersionError, StoreError
from autotune.tracking.events import Event

SCHEMA_VERSION = 1


def spool_folder(home: Path) -> Path:
    """Where searches that MLflow does not have yet are kept."""
    return home / "tracking-spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolContent:
    """What a spool file says.

    Args:
        events: in the order they happened.
        delivered: how many of them MLflow has.
        run_id: the run they were written to, empty where there is none yet.
    """

    events: tuple[Event, ...]
    delivered: int
    run_id: str


class Spool:
    """The file of one search; its methods may be called from any thread. What cannot be written whole is not there.

    Args:
        path: made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self.count = 0  # events that are on disk

    def append(self, event: Event) -> None:
        """Adds an event.

        Raises:
            OSError: it could not be written.
        """
        head: tuple[dict[str, object], ...] = ()
        with self._lock:
            if not self.count:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                head = ({"schema_version": SCHEMA_VERSION},)
            self._add(*head, {"event": event.name, "time_ms": event.time_ms, "fields": event.fields})
            self.count += 1

    def mark(self, delivered: int, run_id: str) -> None:
        """Notes that MLflow has the first `delivered` events, in run `run_id`.

        Raises:
            OSError: it could not be written.
        """
        with self._lock:
            self._add({"delivered": delivered, "run_id": run_id})

    def mend(self) -> None:
        """Cuts off a line that the death of its process left half written, which the next one would be joined to.

        Raises:
            OSError: it could not be written.
        """
        with self._lock:
            os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)

    def remove(self) -> None:
        """Forgets the file: MLflow has everything."""
        self.path.unlink(missing_ok=True)

    def _add(self, *values: dict[str, object]) -> None:
        """Adds lines, or none: a full disk takes half of one."""
        left = "".join(json.dumps(value) + "\n" for value in values).encode()
        with self.path.open("ab", buffering=0) as file:
            begin = file.tell()
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(begin)
                raise


def lock_path(path: Path) -> Path:
    """The lock that a living search holds on its spool file."""
    return path.with_suffix(".lock")


@contextmanager
def owned(path: Path) -> Iterator[bool]:
    """Holds the lock of a spool file; gives False where another process or observer has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_path(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
        if not path.exists():
            lock_path(path).unlink(missing_ok=True)


def read_spool(path: Path) -> SpoolContent:
    """What a spool file says; a line that was cut off by the death of its process is left out.

    Raises:
        StoreError: not a spool file.
        SchemaVersionError: written by a newer version.
    """
    events: list[Event] = []
    delivered, run_id = 0, ""
    lines = path.read_text(encoding="utf-8").splitlines()
    for at, line in enumerate(lines):
        try:
            value = json.loads(line)
            if at == 0:
                found = int(value["schema_version"])
                if found > SCHEMA_VERSION:
                    raise SchemaVersionError(str(path), found=found, known=SCHEMA_VERSION)
            elif "event" in value:
                events.append(Event(name=value["event"], time_ms=int(value["time_ms"]), fields=value["fields"]))
            else:
                delivered, run_id = int(value["delivered"]), str(value["run_id"])
        except (ValueError, KeyError, TypeError) as error:
            if at == 0:
                raise StoreError(f"{path} is not a spool file of autotune ({error}); delete it.") from error
            if at != len(lines) - 1:
                raise StoreError(f"{path} is damaged in line {at + 1} ({error}); delete it.") from error
    return SpoolContent(events=tuple(events), delivered=min(delivered, len(events)), run_id=run_id)
