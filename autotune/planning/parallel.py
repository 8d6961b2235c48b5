"""Candidates whose stages work at the same time: branches, chains divided between lanes, pipelines.

Each form has its literature: branches as tasks of a graph (HEFT), divided operators (CoDL, HeteroLLM), pipelines of
consecutive requests (Band, Puzzle). All report that it often does not pay; what is made here is only a proposal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from autotune.core import Candidate, Lane, Scenario, SplitChoice, StageChoice
from autotune.graph import Cut, SplitSite
from autotune.planning.explore import Proposal
from autotune.planning.lane_team import HANDOVER_US, LaneTeam
from autotune.planning.placement import place
from autotune.planning.sharing import Sharing, share_between
from autotune.simulator import TaskGraph

SHARES = tuple(step / 8 for step in range(1, 8))
SPLIT_GAIN = 1.05
"""A chain is divided only if it is predicted to be this many times faster."""


def parallel_proposals(
    team: LaneTeam,
    *,
    scenario: Scenario,
    cuts: Sequence[Cut],
    sites: Sequence[SplitSite],
    seconds: float,
    seed: int,
) -> list[Proposal]:
    """What the lanes of a team could do together, predicted; fastest first.

    Args:
        team: the lanes.
        scenario: SingleStream proposes branches and splits, Offline pipelines too.
        cuts: K + 1 cuts of the model.
        sites: chains that can be divided.
        seconds: most time for placing branches.
        seed: of it.
    """
    found: list[tuple[str, Candidate]] = []
    branches = branch_candidate(team, seconds=seconds, seed=seed)
    if branches is not None:
        found.append(("branches", branches))
    found += [("splits", candidate) for candidate in split_candidates(team, sites)]
    if scenario is Scenario.OFFLINE:
        found += [("pipeline", candidate) for candidate in pipeline_candidates(team, cuts)]
    if scenario is Scenario.OFFLINE:
        callers = len(team.lanes) + 1
        found = [(origin, replace(candidate, callers=callers)) for origin, candidate in found]
    proposals = [
        Proposal(
            candidate=candidate,
            predicted_us=team.estimate_us(candidate, scenario),
            predicted_error=0.0,
            origin=origin,
        )
        for origin, candidate in found
    ]
    return sorted(proposals, key=lambda proposal: proposal.predicted_us)


def branch_candidate(team: LaneTeam, *, seconds: float, seed: int) -> Candidate | None:
    """Kernels placed on the lanes so that the model ends first; None where one lane is predicted to be best."""
    count, lanes = team.kernel_us.shape
    transfer = np.zeros((count, lanes, lanes))
    for a, b in itertools.permutations(range(lanes), 2):
        per_byte = team.costs[a].per_byte_out_us + team.costs[b].per_byte_in_us
        transfer[:, a, b] = HANDOVER_US + team.costs[b].call_us + per_byte * np.array(team.needs.bytes_out)
    tasks = TaskGraph(
        names=tuple(map(str, range(count))),
        processors=tuple(map(str, team.lanes)),
        predecessors=team.needs.before,
        cost_us=team.kernel_us,
        transfer_us=transfer,
    )
    schedule = place(tasks, corun=team.corun, seed=seed, seconds=seconds).schedule
    if len(set(schedule.processor)) < 2:
        return None
    variants = (
        Candidate(stages=tuple(stages_of(team, schedule.processor, schedule.order, eager=eager)))
        for eager in (True, False)
    )
    return min(variants, key=lambda candidate: team.estimate_us(candidate, Scenario.SINGLE_STREAM))


def stages_of(team: LaneTeam, processor: Sequence[int], order: Sequence[int], *, eager: bool) -> Iterator[StageChoice]:
    """Kernels of a schedule joined to stages, in an order in which they can run.

    A stage ends where its lane has to wait for something new, and where another lane begins that needs something of it.

    Args:
        team: the lanes.
        processor: [K] lane of each kernel.
        order: kernels as they begin.
        eager: whether a stage ends with every kernel that another lane needs: that begins sooner, with more stages.
    """
    needed_elsewhere = {
        k for kernel, before in enumerate(team.needs.before) for k in before if processor[k] != processor[kernel]
    }
    made_in: dict[int, int] = {}
    members: list[list[int]] = []
    awaited: list[set[int]] = []
    current: dict[int, int] = {}
    for kernel in order:
        lane = processor[kernel]
        foreign = {made_in[k] for k in team.needs.before[kernel] if processor[k] != lane}
        for stage in foreign:
            current = {on: at for on, at in current.items() if at != stage}
        own = current.get(lane)
        if own is None or not foreign <= awaited[own]:
            own = current[lane] = len(members)
            members.append([])
            awaited.append(foreign)
        members[own].append(kernel)
        made_in[kernel] = own
        if eager and kernel in needed_elsewhere:
            del current[lane]
    for kernels in members:
        yield StageChoice.of(kernels, team.lanes[processor[kernels[0]]])


def pipeline_candidates(team: LaneTeam, cuts: Sequence[Cut]) -> Iterator[Candidate]:
    """Each order of the lanes, cut where the slowest of them has least to do."""
    count = len(cuts) - 1
    legal = [cut.position for cut in cuts if cut.legal]
    prefix = np.concatenate([np.zeros((1, len(team.lanes))), np.cumsum(team.kernel_us, axis=0)])
    for order in itertools.permutations(range(len(team.lanes))):
        best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, (0,))}
        for depth, lane in enumerate(order):
            stops = [count] if depth == len(order) - 1 else legal
            reached: dict[int, tuple[float, tuple[int, ...]]] = {}
            for (start, (load, path)), stop in itertools.product(best.items(), stops):
                if stop > start:
                    heaviest = max(load, float(prefix[stop, lane] - prefix[start, lane]) + team.costs[lane].call_us)
                    if heaviest < reached.get(stop, (np.inf, ()))[0]:
                        reached[stop] = (heaviest, (*path, stop))
            best = reached
        if count in best and np.isfinite(best[count][0]):
            spans = itertools.pairwise(best[count][1])
            stages = [
                StageChoice(start=a, stop=b, lane=team.lanes[lane]) for (a, b), lane in zip(spans, order, strict=True)
            ]
            yield Candidate(stages=tuple(stages))


def split_candidates(team: LaneTeam, sites: Sequence[SplitSite]) -> Iterator[Candidate]:
    """One lane runs the model, another takes a share of the chains that are predicted to gain by it."""
    for first, second in itertools.permutations(range(len(team.lanes)), 2):
        chosen: list[tuple[float, SplitSite, float]] = []
        for site in sites:
            sharing = _share(team, site, first, second)
            if sharing.is_split:
                chosen.append((sharing.solo_us - sharing.latency_us, site, sharing.share))
        taken: set[int] = set()
        splits: list[SplitChoice] = []
        for _, site, share in sorted(chosen, key=lambda item: -item[0]):
            if not taken & set(site.kernels):
                taken |= set(site.kernels)
                splits.append(SplitChoice(kernels=site.kernels, axis=site.axis, shares=(share, 1 - share)))
        if splits:
            yield divided_candidate(team, splits, (team.lanes[first], team.lanes[second]))


def _share(team: LaneTeam, site: SplitSite, first: int, second: int) -> Sharing:
    """How much of a chain the first lane keeps; the whole chain never goes to the second."""
    times = team.kernel_us[list(site.kernels)].sum(axis=0)

    def first_us(share: float) -> float:
        return share * float(times[first]) * (team.corun.get((first, second), 1.0) if share < 1 else 1.0)

    def second_us(share: float) -> float:
        return share * float(times[second]) * team.corun.get((second, first), 1.0) if share < 1 else float("inf")

    sync_us = 2 * HANDOVER_US + team.costs[first].call_us + team.costs[second].call_us
    return share_between(first_us, second_us, shares=SHARES, sync_us=sync_us, least_gain=SPLIT_GAIN)


def divided_candidate(team: LaneTeam, splits: Sequence[SplitChoice], lanes: tuple[Lane, Lane]) -> Candidate:
    """The first lane runs the model, the second its parts of the divided chains.

    A kernel outside the splits runs as early as it can: after the last split that it needs.
    """
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
    stages = [StageChoice.of(rest[0], lanes[0])] if rest[0] else []
    for at, split in enumerate(ordered):
        stages += [StageChoice.of(split.kernels, lane, part=part) for part, lane in enumerate(lanes)]
        if rest[at + 1]:
            stages.append(StageChoice.of(rest[at + 1], lanes[0]))
    return Candidate(stages=tuple(stages), splits=tuple(ordered))
