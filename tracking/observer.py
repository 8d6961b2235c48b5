"""The observer that keeps a search in MLflow without ever stopping or slowing it."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from autotune.tracking.destination import destination_of
from autotune.tracking.events import Event, freeze
from autotune.tracking.outbox import Outbox
from autotune.tracking.replay import replay_spool
from autotune.tracking.spool import Spool, owned, spool_folder

logger = logging.getLogger(__name__)

SERVER_S = 10.0
"""Seconds in all that a tracking server may keep a search waiting after its end; a data base of one's own, which MLflow
makes with the first search, as long as the caller says."""


class MlflowObserver:
    """A search in MLflow: a run with parameters, metrics per round, plan, plots; nested runs of what is measured.

    `event` only puts something on a queue; a daemon thread writes it, once the search no longer measures: a busy core
    would spoil what is measured. What earlier searches left is written after that.
    Whatever fails is logged once as a warning. What MLflow does not take, or not in time, stays in the home folder's
    `tracking-spool` and is logged by the next search, or by `replay_spool`.

    Args:
        home: where the data base, the files and the spool are.
        clock: seconds since 1970.
    """

    def __init__(self, home: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._home = home
        self._clock = clock
        self._queue: queue.SimpleQueue[Event | str] = queue.SimpleQueue()
        self._spool = Spool(spool_folder(home) / f"{uuid.uuid4().hex}.jsonl")
        destination = destination_of(home)
        self._patience_s = SERVER_S if destination.is_server else math.inf
        self._until = math.inf
        self._outbox = Outbox(destination, self._spool, warn=self._warn)
        self._warned: set[str] = set()
        self._measuring = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="autotune-tracking", daemon=True)
        self._thread.start()

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
        """Ignored: MLflow keeps results."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Puts what happened on the queue, as it is now."""
        try:
            event = freeze(name, fields, time_ms=self._now_ms())
        except (TypeError, ValueError, RecursionError) as error:
            self._warn(f"the event {name!r} cannot be kept: {error}")
            return
        if name in ("search_started", "search_finished"):
            self._measuring = name == "search_started"
        if name == "search_finished":
            self._start_waiting()
        self._queue.put(event)

    def run_id(self, *, wait_s: float = 3.0) -> str | None:
        """MLflow's id of this search's run; None where it has none within `wait_s` seconds, and a server's own."""
        return self._outbox.run_id(self._at_most(wait_s))

    def close(self, *, timeout_s: float = 15.0) -> None:
        """Writes what is left, for at most `timeout_s` seconds, and a server's own; the rest stays in the spool."""
        if self._closed:
            return
        self._closed = True
        self._measuring = False
        self._start_waiting()
        self._queue.put("stop")
        self._thread.join(self._at_most(timeout_s))
        if self._thread.is_alive():
            allowed_s = min(timeout_s, self._patience_s)
            self._warn(f"MLflow took longer than {allowed_s:g} s; the rest is logged by the next search")
            self._save_queue()
            self._queue.put("stop")

    def _work(self) -> None:
        try:
            with owned(self._spool.path):
                self._serve()
        except Exception as error:  # noqa: BLE001 - the edge of the thread: tracking must never stop a search
            self._warn(f"tracking stopped: {type(error).__name__}: {error}")
            self._outbox.give_up()

    def _serve(self) -> None:
        while (item := self._queue.get()) != "stop":
            if isinstance(item, Event):
                self._outbox.add(item)
            if not self._measuring:
                self._outbox.deliver()
        if self._outbox.finish("FAILED", time_ms=self._now_ms()):
            replay_spool(self._home, warn=self._warn)

    def _start_waiting(self) -> None:
        """From now on somebody waits for MLflow: what it may take counts."""
        self._until = min(self._until, time.monotonic() + self._patience_s)

    def _at_most(self, seconds: float) -> float:
        return max(0.0, min(seconds, self._until - time.monotonic()))

    def _save_queue(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, Event):
                self._outbox.save(item)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("tracking: %s", text)
