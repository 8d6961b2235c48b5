"""One lane, the other, or both: whether a chain of operators is worth a split.

T(r) = max(T_a(r), T_b(1 − r)) + sync + copy(r), after HeteroLLM's partition solver (Chen et al., arXiv 2501.14794); see
docs/splits.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autotune.errors import UsageError

TimeOf = Callable[[float], float]
"""µs of a lane for a share of the work, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How two lanes share a chain of operators.

    Args:
        share: of the first lane: 1 if it works alone, 0 if the second one does.
        latency_us: predicted, all costs included.
        solo_us: the better of the two lanes alone.
    """

    share: float
    latency_us: float
    solo_us: float

    @property
    def is_split(self) -> bool:
        """Whether both work."""
        return 0 < self.share < 1

    @property
    def gain(self) -> float:
        """How many times faster than the better lane alone."""
        return self.solo_us / self.latency_us


def share_between(
    first_us: TimeOf,
    second_us: TimeOf,
    *,
    shares: Sequence[float],
    sync_us: float,
    copy_us: TimeOf | None = None,
    least_gain: float = 1.0,
) -> Sharing:
    """The best way for two lanes to share a chain of operators.

    Args:
        first_us: µs of the first lane for its share; `first_us(1)` is it alone, on the undivided chain.
        second_us: the same of the second lane.
        shares: of the first lane that can be had, each in (0, 1): the positions where the chain can be divided.
        sync_us: measured µs until both lanes have begun and each has learnt of the other's end.
        copy_us: measured µs to slice inputs and to join the parts, by the first lane's share; None: nothing.
        least_gain: a split is taken only if it is predicted to be this many times faster than the better lane alone.

    Raises:
        UsageError: a share outside (0, 1), or a negative time.
    """
    alone = (
        Sharing(share=share, latency_us=time, solo_us=time) for share, time in ((1, first_us(1)), (0, second_us(1)))
    )
    solo = min(alone, key=lambda choice: choice.latency_us)
    best = solo
    for share in shares:
        if not 0 < share < 1:
            raise UsageError(f"a share between two lanes lies between 0 and 1, got {share}: leave it out")
        copy = 0.0 if copy_us is None else copy_us(share)
        if min(copy, sync_us) < 0:
            raise UsageError(f"times are not negative, got sync {sync_us} µs and copy {copy} µs")
        time = max(first_us(share), second_us(1 - share)) + sync_us + copy
        if time < best.latency_us:
            best = Sharing(share=share, latency_us=time, solo_us=solo.latency_us)
    return best if best.gain >= least_gain else solo
