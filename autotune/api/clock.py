"""The budget of a search: one deadline, and seconds spent by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Seconds for everything, counted from its creation.

    Args:
        total_s: the budget.
    """

    def __init__(self, total_s: float) -> None:
        self._start = time.monotonic()
        self.total_s = total_s
        self.spent_s: dict[str, float] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def left_s(self) -> float:
        """Seconds left, negative when overdrawn."""
        return self.total_s - self.elapsed_s

    def until(self, share: float) -> float:
        """`time.monotonic()` at which `share` (0..1) of the whole budget is spent."""
        return self._start + self.total_s * share

    def seconds_until(self, share: float) -> float:
        """Seconds until `share` of the whole budget is spent, at least 0."""
        return max(0.0, self.until(share) - time.monotonic())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the seconds spent inside to `spent_s[name]`."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.spent_s[name] = self.spent_s.get(name, 0.0) + time.monotonic() - begin
