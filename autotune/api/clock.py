"""The budget of a search: one deadline, and seconds spent by phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OVERDRAWN = 1.1
"""Share of the budget beyond which it is worth a word where the time went."""


class Budget:
    """Seconds for everything, counted from its creation.

    Args:
        total_s: the budget.
        clock: seconds of a clock that never goes back; `until` is in its time.
    """

    def __init__(self, total_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self.total_s = total_s
        self.spent_s: dict[str, float] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def left_s(self) -> float:
        """Seconds left, negative when overdrawn."""
        return self.total_s - self.elapsed_s

    def until(self, share: float) -> float:
        """`time.monotonic()` at which `share` (0..1) of the whole budget is spent."""
        return self._start + self.total_s * share

    def seconds_until(self, share: float) -> float:
        """Seconds until `share` of the whole budget is spent, at least 0."""
        return max(0.0, self.until(share) - self._clock())

    @contextmanager
    def extended(self, most_s: float) -> Iterator[None]:
        """Time inside comes on top of the budget, up to so many seconds."""
        begin = self._clock()
        try:
            yield
        finally:
            self.total_s += min(most_s, self._clock() - begin)

    def make_room(self, needed_s: float, *, most_s: float) -> bool:
        """Raises the budget so that so many seconds are left, to `most_s` at most; never lowers it.

        Returns:
            Whether they are left now.
        """
        needed_s += self.elapsed_s
        self.total_s = max(self.total_s, min(most_s, needed_s))
        return self.total_s >= needed_s

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the seconds spent inside to `spent_s[name]`."""
        begin = self._clock()
        try:
            yield
        finally:
            self.spent_s[name] = self.spent_s.get(name, 0.0) + self._clock() - begin

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count."""
        begin = self._clock()
        try:
            yield
        finally:
            self._start += self._clock() - begin

    @property
    def overdraft(self) -> str:
        """Where the time went if it is clearly more than the budget, longest first; else empty."""
        if self.elapsed_s < OVERDRAWN * self.total_s:
            return ""
        parts = sorted(self.spent_s.items(), key=lambda item: -item[1])
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts if seconds >= 0.05)
        return f"this took {self.elapsed_s:.1f} s instead of {self.total_s:g} s: {spent}."
