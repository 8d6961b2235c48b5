"""Which lanes could work at the same time, from what was measured of each processor alone."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotune.api.contention import slowdown_predictor
from autotune.api.knowledge import Knowledge
from autotune.api.run import Contender, Run
from autotune.core import Concurrency, Lane, Precision
from autotune.planning import KernelNeeds, LaneTeam, ideal_us, kernel_needs, least_ideal_us
from autotune.planning.costs import Floats, LaneCost
from autotune.predictor import SlowdownPredictor
from autotune.processors import share_out
from autotune.profiler.handover import handover_us
from autotune.simulator import SlowdownTable, slowdowns

MOST_TEAMS = 3
MOST_LANES = 4
"""Of a team: each further lane has less to do, and one more to wait for."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Player:
    """A processor on so many cores, as a member of a team.

    Args:
        lane: where it runs, not pinned yet.
        whole_us: what one inference of the model takes there.
        kernel_us: [K] share of each kernel in it.
        cost: what a stage costs beyond its kernels.
        crowded: whether that was measured with others like it on the other cores, so that what CPU lanes do to each
            other is in it.
    """

    lane: Lane
    whole_us: float
    kernel_us: Floats
    cost: LaneCost
    crowded: bool = False


Group = tuple[Player, ...]


def players_of(run: Run, knowledge: Knowledge) -> list[Player]:
    """Every processor and number of threads that ran the whole model within the tolerance, kernels scaled to it.

    Where requests overlap, some threads each are known as streams that fill the cores: a stream is a player.
    """
    found: dict[tuple[str, Precision, int], Player] = {}
    for contender in run.singles():
        lane = contender.lanes[0]
        kernels = _kernels_like(knowledge, lane)
        if kernels is None or not run.feasible(contender):
            continue
        threads = lane.threads_each
        key = (lane.processor, lane.precision, threads)
        whole_us = _one_us(contender)
        if (lane.on_cpu and not threads) or (key in found and found[key].whole_us <= whole_us):
            continue
        own, kernel_us = kernels
        cost = knowledge.stage_cost.get(own, LaneCost(call_us=0.0, per_byte_in_us=0.0, per_byte_out_us=0.0))
        total = float(kernel_us.sum())
        if math.isfinite(total) and total > 0 and whole_us > cost.call_us:
            found[key] = Player(
                lane=_one_stream(lane),
                whole_us=whole_us,
                kernel_us=kernel_us * ((whole_us - cost.call_us) / total),
                cost=cost,
                crowded=lane.on_cpu and contender.candidate is not None and contender.candidate.callers > 1,
            )
    return list(found.values())


def _one_us(contender: Contender) -> float:
    """Time of one request; with several callers by Little's law, and then with the others beside it."""
    candidate = contender.candidate
    return contender.median_us * (candidate.callers * candidate.batch if candidate is not None else 1)


def _one_stream(lane: Lane) -> Lane:
    setting = lane.concurrency
    if setting.streams == 1:
        return lane
    return replace(lane, concurrency=Concurrency(threads=lane.threads_each, spinning=setting.spinning))


def _kernels_like(knowledge: Knowledge, lane: Lane) -> tuple[Lane, Floats] | None:
    """Kernel costs of the processor at this precision: those of the lane with the nearest number of threads."""
    known = [own for own in knowledge.kernel_us if own.kind == lane.kind]
    if not known:
        return None
    nearest = min(known, key=lambda own: (abs(own.threads_each - lane.threads_each), str(own)))
    return nearest, knowledge.kernel_us[nearest]


def best_groups(players: Sequence[Player], cores: Sequence[int]) -> list[tuple[float, Group]]:
    """Lanes that could work at the same time, with what they would take if they shared the work without any loss.

    The best first, of each number of lanes: the more there are, the better they would be without loss.
    """
    by_size = itertools.groupby(_groups(players, cores), key=len)
    best = [list(itertools.islice(_ranked(list(groups)), MOST_TEAMS)) for _, groups in by_size]
    return sorted(itertools.chain(*best), key=lambda found: found[0])


def _ranked(groups: Sequence[Group]) -> Iterator[tuple[float, Group]]:
    """Groups by their ideal time, which is worked out only for those whose lower bound comes first."""
    waiting = [(least_ideal_us(_kernel_us(group)), False, at) for at, group in enumerate(groups)]
    heapq.heapify(waiting)
    while waiting:
        us, known, at = heapq.heappop(waiting)
        if known:
            yield us, groups[at]
        else:
            heapq.heappush(waiting, (ideal_us(_kernel_us(groups[at])), True, at))


def _kernel_us(group: Group) -> Floats:
    """[K, L] of its lanes."""
    return np.stack([player.kernel_us for player in group], axis=1)


def _groups(players: Sequence[Player], cores: Sequence[int]) -> Iterator[Group]:
    """Two or more lanes: processors with memory and cores of their own, and shares of the cores, pinned."""
    devices = {player.lane.processor for player in players if not player.lane.on_cpu}
    for size in range(2, min(MOST_LANES, len(cores) + len(devices)) + 1):
        for group in itertools.combinations_with_replacement(players, size):
            others = [player.lane.processor for player in group if not player.lane.on_cpu]
            if len(set(others)) == len(others) and sum(_needs(group)) <= len(cores):
                yield _apart(group, cores) if size - len(others) > 1 else group


def _needs(group: Group) -> list[int]:
    """Cores of each."""
    return [player.lane.concurrency.threads if player.lane.on_cpu else 0 for player in group]


def _apart(group: Group, cores: Sequence[int]) -> Group:
    """Those on the CPU pinned to cores of their own."""
    shares = share_out(_needs(group), cores)
    return tuple(
        replace(player, lane=_pinned(player.lane, own)) if own else player
        for player, own in zip(group, shares, strict=True)
    )


def _pinned(lane: Lane, cores: tuple[int, ...]) -> Lane:
    spinning = False if lane.processor == "cpu" and len(cores) > 1 else lane.concurrency.spinning
    return replace(lane, concurrency=Concurrency(threads=len(cores), cores=cores, spinning=spinning))


def lane_teams(run: Run, groups: Sequence[Group]) -> list[LaneTeam]:
    """The most promising groups as teams: the best of each number of lanes comes before all others.

    Args:
        run: the search.
        groups: the best first.
    """
    first = list({len(groups[at]): at for at in reversed(range(len(groups)))}.values())
    chosen = sorted([*first, *(at for at in range(len(groups)) if at not in first)][:MOST_TEAMS])
    needs = kernel_needs(run.task.graph)
    predictor = slowdown_predictor(run.place, run.store)
    sync_us = handover_us(run.place.device.cores)
    return [replace(_team(run, groups[at], needs, predictor), handover_us=sync_us) for at in chosen]


def _team(run: Run, group: Group, needs: KernelNeeds, predictor: SlowdownPredictor) -> LaneTeam:
    lanes = tuple(player.lane for player in group)
    kernels = [use.kernel for use in run.task.graph.kernels]
    table = SlowdownTable(kernels, {player.lane: player.kernel_us for player in group}, predictor)
    everything = tuple(range(len(kernels)))
    corun = slowdowns(table, [everything] * len(lanes), range(len(lanes)), lanes)
    return LaneTeam(
        lanes=lanes,
        kernel_us=_kernel_us(group),
        costs=tuple(player.cost for player in group),
        needs=needs,
        corun={(at, other): by for (at, other), by in corun.items() if not _was_beside(group[at], group[other])},
    )


def _was_beside(player: Player, other: Player) -> bool:
    """Whether a player was measured beside such a neighbour, so that its times have the slowdown in them."""
    return player.crowded and other.lane.on_cpu
