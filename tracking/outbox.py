"""What one search has to say to MLflow: kept on disk first, then delivered in order, as often as it takes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from autotune.tracking.destination import Destination, check_reachable, connect, is_unreachable, one_line, unusable
from autotune.tracking.events import Event
from autotune.tracking.spool import Spool
from autotune.tracking.writer import RunWriter

RETRY_AFTER_S = 30.0
PATIENCE_S = 2.0
"""Seconds that failed tries may take in all: a server that refuses at once is tried again, one that hangs is not."""


class Outbox:
    """Events of one search on their way to MLflow; one thread delivers, any thread may ask for the run or save.

    Args:
        destination: where they go.
        spool: where they are kept until then.
        warn: takes what went wrong, as text; called with the same text as often as it happens.
    """

    def __init__(self, destination: Destination, spool: Spool, *, warn: Callable[[str], None]) -> None:
        self._destination = destination
        self._spool = spool
        self._warn = warn
        self._waiting: deque[tuple[Event, bool]] = deque()  # and whether the spool has it
        self._delivered = 0  # of those that the spool has
        self._writer: RunWriter | None = None
        self._settled = threading.Event()
        self._run_id: str | None = None
        self._retry_at = 0.0
        self._wasted_s = 0.0

    def add(self, event: Event) -> None:
        """Takes an event, on disk and for delivery."""
        self._waiting.append((event, self.save(event)))

    def save(self, event: Event) -> bool:
        """Keeps an event on disk only; gives whether that went well."""
        try:
            self._spool.append(event)
        except OSError as error:
            self._warn(f"events cannot be kept in {self._spool.path.parent}: {error}")
            return False
        return True

    def deliver(self, *, now: bool = False) -> None:
        """Writes what waits. After a failure it waits half a minute before it tries again, unless `now`.

        Failures that took longer than `PATIENCE_S` are the last: a search must not wait for a server that hangs.
        """
        begin = time.monotonic()
        if not self._waiting or (begin < self._retry_at and not now) or self._wasted_s > PATIENCE_S:
            return
        try:
            writer = self._connected()
            while self._waiting:
                begin = time.monotonic()
                event, kept = self._waiting[0]
                self._write(writer, event)
                self._waiting.popleft()
                if kept:
                    self._delivered += 1
                    self._spool.mark(self._delivered, writer.run_id)
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises must not stop a search
            self._retry_at = time.monotonic() + RETRY_AFTER_S
            self._wasted_s += time.monotonic() - begin
            self._settled.set()
            self._warn(unusable(self._destination, error))

    def finish(self, status: str, *, time_ms: int) -> bool:
        """Delivers the rest, ends a run left open with `status`; forgets the spool if all is written.

        Returns:
            Whether MLflow took what it was given.
        """
        self.deliver(now=True)
        if self._waiting:
            return False
        try:
            if self._writer is not None:
                self._writer.end(status, time_ms=time_ms)
            if self._delivered == self._spool.count:
                self._spool.remove()
        except Exception as error:  # noqa: BLE001 - as above
            self._warn(f"the run could not be ended: {one_line(error)}")
            return False
        return True

    def run_id(self, wait_s: float) -> str | None:
        """The run's id, waiting for it up to `wait_s` seconds unless it is known that there will be none."""
        self._settled.wait(wait_s)
        return self._run_id

    def give_up(self) -> None:
        """Says that there will be no run."""
        self._settled.set()

    def _connected(self) -> RunWriter:
        if self._writer is None:
            self._writer = RunWriter(connect(self._destination), self._destination)
        else:
            check_reachable(self._destination)
        return self._writer

    def _write(self, writer: RunWriter, event: Event) -> None:
        try:
            writer.write(event)
        except Exception as error:
            if is_unreachable(error) or not writer.run_id:
                raise
            self._warn(f"the event {event.name!r} was left out: {one_line(error)}")
        if writer.run_id:
            self._run_id = writer.run_id
            self._settled.set()
