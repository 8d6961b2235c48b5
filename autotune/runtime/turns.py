"""Turns: who goes next among models that share cores."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Turns:
    """Lets one of several members work at a time; the next is who had the least time for its weight.

    Among requests of one member the first comes first. A member that has asked for nothing for a while is not owed that
    time (stride scheduling; Waldspurger and Weihl, 1995).

    Args:
        weights: [M] share of the time that each member gets while all of them wait.
        clock: seconds.
    """

    def __init__(self, weights: Sequence[float], *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._weights = tuple(weights)
        self._clock = clock
        self._used = [0.0] * len(self._weights)
        self._waiting: list[deque[threading.Lock]] = [deque() for _ in self._weights]
        self._busy = False
        self._since = 0.0
        self._level = 0.0
        """What the member at work had used when its turn began."""
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, member: int) -> Iterator[None]:
        """Waits for this member's turn, which ends with the block."""
        self._take(member)
        try:
            yield
        finally:
            self._give(member)

    def _take(self, member: int) -> None:
        gate = threading.Lock()
        gate.acquire()
        with self._lock:
            if not self._waiting[member]:
                self._used[member] = max(self._used[member], self._level)
            if not self._busy:
                self._begin(member)
                return
            self._waiting[member].append(gate)
        try:
            gate.acquire()
        except BaseException:  # interrupted while it waited: the turn must not be lost
            with self._lock:
                granted = gate not in self._waiting[member]
                if not granted:
                    self._waiting[member].remove(gate)
            if granted:
                self._give(member)
            raise

    def _begin(self, member: int) -> None:
        self._busy = True
        self._level = self._used[member]
        self._since = self._clock()

    def _give(self, member: int) -> None:
        with self._lock:
            self._used[member] += (self._clock() - self._since) / self._weights[member]
            waiting = [other for other, gates in enumerate(self._waiting) if gates]
            if not waiting:
                self._busy = False
                return
            following = min(waiting, key=lambda other: self._used[other])
            gate = self._waiting[following].popleft()
            self._begin(following)
        gate.release()
