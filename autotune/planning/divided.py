"""Candidates in which chains of operators are divided among lanes (CoDL, HeteroLLM)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from autotune.core import Candidate, Lane, SplitChoice, StageChoice
from autotune.graph import SplitSite
from autotune.planning.lane_team import LaneTeam
from autotune.planning.sharing import Shares, Sharing, even_steps, share_among

STEPS = 8
"""Shares of a chain are multiples of one over this."""
SPLIT_GAIN = 1.05
"""A chain is divided only if it is predicted to be this many times faster."""
Fits = Callable[[SplitChoice], bool]
"""Whether a chain can be divided into so many parts."""


def split_candidates(team: LaneTeam, sites: Sequence[SplitSite], *, fits: Fits | None = None) -> Iterator[Candidate]:
    """One lane runs the model, others take shares of the chains that are predicted to gain by it.

    Args:
        team: the lanes.
        sites: chains that can be divided in two.
        fits: asked before a chain is divided into more parts; None: all can be.
    """
    lanes = range(len(team.lanes))
    for first in team.unlike(lanes):
        helpers = [on for on in lanes if on != first]
        groups = [
            (first, *others)
            for size in range(1, len(lanes))
            for others in team.unlike_groups(itertools.combinations(helpers, size))
        ]
        chosen: list[tuple[float, SplitSite, tuple[int, ...], Shares]] = []
        for site, group in itertools.product(sites, groups):
            sharing = _share(team, site, group)
            if sharing is not None and sharing.is_split:
                chosen.append((sharing.solo_us - sharing.latency_us, site, group, sharing.shares))
        splits: dict[SplitChoice, tuple[Lane, ...]] = {}
        taken: set[int] = set()
        for _, site, group, shares in sorted(chosen, key=lambda item: -item[0]):
            split = SplitChoice(kernels=site.kernels, axis=site.axis, shares=shares)
            if not taken & set(site.kernels) and (len(group) == 2 or fits is None or fits(split)):
                taken |= set(site.kernels)
                splits[split] = tuple(team.lanes[on] for on in group)
        if splits:
            yield divided_candidate(team, splits)


@cache
def _shares(lanes: int) -> tuple[Shares, ...]:
    return tuple(even_steps(lanes, STEPS))


def _share(team: LaneTeam, site: SplitSite, group: Sequence[int]) -> Sharing | None:
    """How much of a chain each lane gets; the first one is never without; None: it cannot pay whatever the shares."""
    times = team.kernel_us[list(site.kernels)].sum(axis=0)
    slowed = [float(times[on]) * team.beside(on, group) for on in group]
    sync_us = 2 * team.handover_us * (len(group) - 1) + sum(team.costs[on].call_us for on in group)
    alone_us = float(times[group[0]])
    if not all(math.isfinite(us) and us > 0 for us in slowed):
        return None
    if 1 / sum(1 / us for us in slowed) + sync_us > alone_us / SPLIT_GAIN:
        return None

    def first_us(share: float) -> float:
        return share * (slowed[0] if share < 1 else alone_us)

    def helper_us(us: float) -> Callable[[float], float]:
        return lambda share: share * us if share < 1 else math.inf

    lanes_us = [first_us, *(helper_us(us) for us in slowed[1:])]
    return share_among(
        lanes_us,
        shares=_shares(len(group)),
        sync_us=sync_us,
        copy_us=_copying(team, site, group),
        least_gain=SPLIT_GAIN,
    )


def _copying(team: LaneTeam, site: SplitSite, group: Sequence[int]) -> Callable[[Shares], float]:
    """What crosses to the parts and back, at the lanes' measured costs: all that comes in, a share of what goes out."""
    outside = {before for kernel in site.kernels for before in team.needs.before[kernel]} - set(site.kernels)
    into = sum(team.needs.bytes_out[kernel] for kernel in outside)
    out = team.needs.bytes_out[site.kernels[-1]]
    costs = [team.costs[on] for on in group]
    return lambda shares: sum(
        cost.per_byte_in_us * into + cost.per_byte_out_us * out * share
        for cost, share in zip(costs, shares, strict=True)
    )


def divided_candidate(team: LaneTeam, splits: Mapping[SplitChoice, tuple[Lane, ...]]) -> Candidate:
    """The first lane of every split runs the model, the others their parts of the divided chains.

    A kernel outside the splits runs as early as it can: after the last split that it needs.

    Args:
        team: the lanes.
        splits: with the lane of each part; the first one is the same for all.
    """
    main = next(iter(splits.values()))[0]
    split_of = {kernel: split for split in splits for kernel in split.kernels}
    ordered = sorted(splits, key=lambda split: max(split.kernels))
    rank = {split.kernels: at + 1 for at, split in enumerate(ordered)}
    level: dict[int, int] = {}
    rest: list[list[int]] = [[] for _ in range(len(ordered) + 1)]
    for kernel, before in enumerate(team.needs.before):
        level[kernel] = max((level[k] for k in before), default=0)
        if kernel in split_of:
            level[kernel] = rank[split_of[kernel].kernels]
        else:
            rest[level[kernel]].append(kernel)
    stages = [StageChoice.of(rest[0], main)] if rest[0] else []
    for at, split in enumerate(ordered):
        stages += [StageChoice.of(split.kernels, lane, part=part) for part, lane in enumerate(splits[split])]
        if rest[at + 1]:
            stages.append(StageChoice.of(rest[at + 1], main))
    return Candidate(stages=tuple(stages), splits=tuple(ordered))
