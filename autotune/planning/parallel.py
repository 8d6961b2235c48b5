"""Candidates whose stages work at the same time: branches, chains divided between lanes, pipelines.

Each form has its literature: branches as tasks of a graph (HEFT), divided operators (CoDL, HeteroLLM), pipelines of
consecutive requests (Band, Puzzle). All report that it often does not pay; what is made here is only a proposal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autotune.core import Candidate, Scenario, StageChoice
from autotune.graph import Cut, SplitSite
from autotune.planning.costs import Floats
from autotune.planning.divided import Fits, split_candidates
from autotune.planning.explore import Proposal
from autotune.planning.lane_team import LaneTeam
from autotune.planning.placement import place
from autotune.simulator import TaskGraph


def parallel_proposals(
    team: LaneTeam,
    *,
    scenario: Scenario,
    cuts: Sequence[Cut],
    sites: Sequence[SplitSite],
    seconds: float,
    seed: int,
    fits: Fits | None = None,
) -> list[Proposal]:
    """What the lanes of a team could do together, predicted; fastest first.

    Args:
        team: the lanes.
        scenario: SingleStream proposes branches and splits, the others pipelines too.
        cuts: K + 1 cuts of the model.
        sites: chains that can be divided.
        seconds: most time for placing branches.
        seed: of it.
        fits: whether a chain can be divided into more than two parts; None: all can.
    """
    found: list[tuple[str, Candidate]] = []
    branches = branch_candidate(team, seconds=seconds, seed=seed)
    if branches is not None:
        found.append(("branches", branches))
    found += [("splits", candidate) for candidate in split_candidates(team, sites, fits=fits)]
    if scenario.overlapping:
        found += [("pipeline", candidate) for candidate in pipeline_candidates(team, cuts)]
    if scenario.overlapping:
        callers = len(team.lanes) + 1
        found = [(origin, replace(candidate, callers=callers)) for origin, candidate in found]
    proposals = [
        Proposal(
            candidate=candidate,
            predicted_us=team.estimate_us(candidate, scenario),
            predicted_error=0.0,
            origin=origin,
            staged=team.staged(candidate),
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
        transfer[:, a, b] = team.handover_us + team.costs[b].call_us + per_byte * np.array(team.needs.bytes_out)
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
    inner = [cut.position for cut in cuts if cut.legal and 0 < cut.position < count]
    positions = np.array([0, *inner, count])
    for order in team.unlike_groups(itertools.permutations(range(len(team.lanes)))):
        path = _evenly_cut([_between(team, lane, positions) for lane in order])
        if path is not None:
            spans = itertools.pairwise(int(positions[at]) for at in path)
            stages = [
                StageChoice(start=a, stop=b, lane=team.lanes[lane]) for (a, b), lane in zip(spans, order, strict=True)
            ]
            yield Candidate(stages=tuple(stages))


def _between(team: LaneTeam, lane: int, positions: NDArray[np.int64]) -> Floats:
    """[P, P] what a stage of the lane takes from one position to a later one, inf where it cannot be."""
    us = team.kernel_us[:, lane]
    able = np.isfinite(us)
    done, blocked = (np.concatenate([[0.0], np.cumsum(own)])[positions] for own in (np.where(able, us, 0.0), ~able))
    found: Floats = done[None, :] - done[:, None] + team.costs[lane].call_us
    found[(blocked[None, :] > blocked[:, None]) | (positions[None, :] <= positions[:, None])] = np.inf
    return found


def _evenly_cut(stages_us: Sequence[Floats]) -> list[int] | None:
    """Where each stage begins, and the end, so that the heaviest is lightest; None where the stages cannot be."""
    heaviest = stages_us[0][0]
    came: list[NDArray[np.int64]] = []
    for stage_us in stages_us[1:]:
        both = np.maximum(heaviest[:, None], stage_us)
        came.append(both.argmin(axis=0))
        heaviest = both.min(axis=0)
    if not np.isfinite(heaviest[-1]):
        return None
    path = [len(heaviest) - 1]
    for sources in reversed(came):
        path.append(int(sources[path[-1]]))
    return [0, *reversed(path)]
