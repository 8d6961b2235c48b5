"""What work on two lanes does to each other: a lane that is timed, beside one that is kept busy."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from autotune.core.kernel import Kernel
from autotune.core.lane import Lane
from autotune.core.measurement import Failure, Identity, Measurement, Notes
from autotune.core.plan import Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class CoRunMeasurement:
    """Times of the same work alone and beside other work, in rounds that take turns.

    Args:
        alone_us: [R] median time in each round while the other lane rests.
        beside_us: [R] in the same rounds while the other lane is busy.
    """

    alone_us: tuple[float, ...]
    beside_us: tuple[float, ...]

    def __post_init__(self) -> None:
        samples = (*self.alone_us, *self.beside_us)
        if not self.alone_us or len(self.alone_us) != len(self.beside_us) or not all(time > 0 for time in samples):
            raise ValueError(f"a co-run measurement needs positive samples in pairs, got {samples[:6]}")

    @property
    def alone_median_us(self) -> float:
        """Median of the faster half of the rounds alone: what else goes on in a machine only adds."""
        return _fast_median(self.alone_us)

    @property
    def beside_median_us(self) -> float:
        """Median of the faster half of the rounds while the other lane was busy."""
        return _fast_median(self.beside_us)

    @property
    def slowdown(self) -> float:
        """How many times longer it took; below 1 only by noise."""
        return self.beside_median_us / self.alone_median_us

    @property
    def interval(self) -> Ratio:
        """The slowdown with a distribution-free interval of about 95 %, from the ratios of each round."""
        ratios = tuple(beside / alone for alone, beside in zip(self.alone_us, self.beside_us, strict=True))
        low, high = Measurement(samples_us=ratios).interval_us
        slowdown = self.slowdown
        return Ratio(ratio=slowdown, low=min(low, slowdown), high=max(high, slowdown))


def _fast_median(rounds: tuple[float, ...]) -> float:
    return statistics.median(sorted(rounds)[: (len(rounds) + 1) // 2])


@dataclass(frozen=True, slots=True, kw_only=True)
class CoRunRecord:
    """Work on a lane, timed alone and beside other work on another lane.

    A single kernel is work of one kernel; a stage is that of several, in order.

    Args:
        victim: kernels that were timed.
        victim_lane: where.
        beside: kernels that kept the other lane busy.
        beside_lane: where; the same lane for two of its streams.
        result: what was measured.
        identity: see `Identity`; the provider names both lanes' where they differ.
        notes: see `Notes`.
    """

    victim: tuple[Kernel, ...]
    victim_lane: Lane
    beside: tuple[Kernel, ...]
    beside_lane: Lane
    result: CoRunMeasurement | Failure
    identity: Identity
    notes: Notes

    def __post_init__(self) -> None:
        if not self.victim or not self.beside:
            raise ValueError("a co-run record needs kernels on both sides")
