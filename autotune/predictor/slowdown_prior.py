"""What sharing does before any learning: a level per kind of pair, and bandwidth that two sides ask for at once.

    slowdown = level(kind) + sharing · d_v / (d_v + B) · d_b / (d_b + B)

with d the bytes per µs that each side asks for when alone and B the rate at which half of a side's time goes into
moving bytes: the slowdown follows from the two stand-alone demands, as in PCCS (Xu et al., MICRO 2021). The level is
what two busy lanes do to each other whatever they run: clocks, and cores that are two threads of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import Lane

Vector = npt.NDArray[np.float64]

_PULL = 0.3
"""Weight of the nominal constants, in records."""
_LEVEL_PULL = 4.0
"""Records of a kind that weigh as much as all kinds together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingPrior:
    """Constants of the formula above.

    Args:
        bandwidth: B, bytes per µs.
        sharing: what two sides do to each other that do nothing but move bytes.
        level: of kinds without records.
        levels: (kind, level) of those with some.
    """

    bandwidth: float = 10e3
    sharing: float = 0.5
    level: float = 1.0
    levels: tuple[tuple[str, float], ...] = ()

    def level_of(self, kind: str) -> float:
        """The level of a kind of pair."""
        return dict(self.levels).get(kind, self.level)

    def knows(self, victim: str, beside: str) -> bool:
        """Whether a kind of these processors has a level of its own."""
        return any(kind.startswith(f"{victim}/") and f" beside {beside}/" in kind for kind, _ in self.levels)

    def slowdown(self, victim_rate: Vector, beside_rate: Vector, level: float | Vector) -> Vector:
        """Slowdowns from bytes per µs of both sides."""
        one, two = (rate / (rate + self.bandwidth) for rate in (victim_rate, beside_rate))
        found: Vector = level + self.sharing * one * two
        return found


NOMINAL_SHARING = SharingPrior()
"""Before anything was measured."""


def kind_of(victim: Lane, beside: Lane) -> str:
    """What is taken to be alike: providers and precisions of both lanes, and whether they are streams of one."""
    text = f"{victim.processor}/{victim.precision} beside {beside.processor}/{beside.precision}"
    return f"{text}, one lane" if victim == beside else text


def fit_sharing(
    victim_rate: Vector, beside_rate: Vector, kinds: Sequence[str], slowdown: Vector, weight: Vector
) -> SharingPrior:
    """Constants that fit measured slowdowns, robustly in log space, pulled weakly to nominal ones.

    Args:
        victim_rate: [N] bytes per µs.
        beside_rate: [N] of the neighbours.
        kinds: [N] see `kind_of`.
        slowdown: [N] measured.
        weight: [N] how far each is to be believed, 0 to 1.
    """
    from scipy.optimize import least_squares

    nominal = NOMINAL_SHARING
    centre = np.array([np.log(nominal.bandwidth), nominal.sharing, nominal.level])
    target = np.log(slowdown)

    def prior(constants: Vector) -> SharingPrior:
        return SharingPrior(
            bandwidth=float(np.exp(constants[0])), sharing=float(constants[1]), level=float(constants[2])
        )

    def residuals(constants: Vector) -> Vector:
        found = prior(constants)
        log = np.log(found.slowdown(victim_rate, beside_rate, found.level))
        return np.concatenate(
            [np.sqrt(weight) * (log - target), _PULL * np.array([0.3, 1.0, 1.0]) * (constants - centre)]
        )

    bounds = ([np.log(100.0), 0.0, 0.9], [np.log(1e6), 3.0, 3.0])
    solution = least_squares(residuals, centre, loss="soft_l1", f_scale=0.1, max_nfev=100, bounds=bounds)
    pooled = prior(solution.x)
    left = slowdown - pooled.slowdown(victim_rate, beside_rate, 0.0)
    levels = []
    for kind in sorted(set(kinds)):
        own = np.array([other == kind for other in kinds])
        believed = float(weight[own].sum())
        level = (_weighted_median(left[own], weight[own]) * believed + pooled.level * _LEVEL_PULL) / (
            believed + _LEVEL_PULL
        )
        levels.append((kind, max(level, 1.0)))
    return SharingPrior(
        bandwidth=pooled.bandwidth, sharing=pooled.sharing, level=max(pooled.level, 1.0), levels=tuple(levels)
    )


def _weighted_median(values: Vector, weight: Vector) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
