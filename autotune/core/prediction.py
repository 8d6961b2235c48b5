"""Predicted times: another type than measured ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A predicted latency with its interval.

    Args:
        median_us: predicted median.
        low_us: lower end of the 90 % interval.
        high_us: upper end.
    """

    median_us: float
    low_us: float
    high_us: float

    def __post_init__(self) -> None:
        if not 0 <= self.low_us <= self.median_us <= self.high_us:
            raise ValueError(f"a prediction needs 0 <= low <= median <= high, got {self}")
