"""One lane, another, or several: whether a chain of operators is worth a split.

T(r) = max over lanes of T_i(r_i) + sync + copy(r), shares r that sum to 1, after HeteroLLM's partition solver for two
(Chen et al., arXiv 2501.14794); see docs/splits.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autotune.errors import UsageError

TimeOf = Callable[[float], float]
"""µs of a lane for a share of the work, in [0, 1]."""
Shares = tuple[float, ...]
"""Of each lane; they sum to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How lanes share a chain of operators.

    Args:
        shares: of each lane: 1 of the one that works alone.
        latency_us: predicted, all costs included.
        solo_us: the best of the lanes alone.
    """

    shares: Shares
    latency_us: float
    solo_us: float

    @property
    def is_split(self) -> bool:
        """Whether more than one works."""
        return sum(share > 0 for share in self.shares) > 1

    @property
    def gain(self) -> float:
        """How many times faster than the best lane alone."""
        return self.solo_us / self.latency_us


def even_steps(lanes: int, steps: int) -> Iterator[Shares]:
    """All shares in steps of 1 / `steps` of which each lane has at least one."""
    if lanes == 1:
        yield (1.0,)
        return
    for first in range(1, steps - lanes + 2):
        left = steps - first
        yield from ((first / steps, *(share * left / steps for share in rest)) for rest in even_steps(lanes - 1, left))


def share_among(
    lanes_us: Sequence[TimeOf],
    *,
    shares: Sequence[Shares],
    sync_us: float,
    copy_us: Callable[[Shares], float] | None = None,
    least_gain: float = 1.0,
) -> Sharing:
    """The best way for lanes to share a chain of operators.

    Args:
        lanes_us: [L] µs of each lane for its share; of 1 it is alone, on the undivided chain.
        shares: that can be had, each lane's in (0, 1): those of the positions where the chain can be divided.
        sync_us: measured µs until all lanes have begun and each end is known.
        copy_us: measured µs to slice inputs and to join the parts, by the shares; None: nothing.
        least_gain: a split is taken only if it is predicted to be this many times faster than the best lane alone.

    Raises:
        UsageError: a share outside (0, 1), shares that do not sum to 1 or are not one per lane, or a negative time.
    """
    count = len(lanes_us)
    alone = [time_of(1.0) for time_of in lanes_us]
    fastest = min(range(count), key=alone.__getitem__)
    one_hot = tuple(float(at == fastest) for at in range(count))
    solo = best = Sharing(shares=one_hot, latency_us=alone[fastest], solo_us=alone[fastest])
    for each in shares:
        if len(each) != count or not all(0 < share < 1 for share in each) or not math.isclose(sum(each), 1):
            raise UsageError(f"shares of {count} lanes lie between 0 and 1 and sum to 1, got {each}: leave them out")
        copy = 0.0 if copy_us is None else copy_us(each)
        if min(copy, sync_us) < 0:
            raise UsageError(f"times are not negative, got sync {sync_us} µs and copy {copy} µs")
        time = max(time_of(share) for time_of, share in zip(lanes_us, each, strict=True)) + sync_us + copy
        if time < best.latency_us:
            best = Sharing(shares=each, latency_us=time, solo_us=solo.latency_us)
    return best if best.gain >= least_gain else solo
