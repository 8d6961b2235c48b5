"""Plans whose stages work at the same time: proposed from what the search knows, and measured at most three times."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotune.api.contention import slowdown_predictor
from autotune.api.deciding import has_time, reserve_s
from autotune.api.knowledge import Knowledge
from autotune.api.run import Contender, Run
from autotune.api.verifying import measure_round, round_s
from autotune.core import Concurrency, Lane, Measurement, Precision, Scenario, SplitChoice
from autotune.graph import Split, can_divide, find_sites
from autotune.planning import KernelNeeds, LaneTeam, Proposal, kernel_needs, parallel_proposals
from autotune.planning.costs import Floats, LaneCost
from autotune.predictor import SlowdownPredictor
from autotune.simulator import CoRun, SlowdownTable, slowdowns

MOST_MEASURED = 3
"""Measurements after which plans that work at the same time are given up."""
MOST_TEAMS = 3
MOST_LANES = 4
"""Of a team: each further lane has less to do, and one more to wait for."""
PLACING_S = 1.0
LEAST_GAIN = 1.015
"""Predicted gain under which a plan is not worth a measurement."""
LONGEST_CHAIN = 4
"""Kernels of a chain that is divided."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Player:
    """A processor on so many cores, as a member of a team.

    Args:
        lane: where it runs, not pinned yet.
        whole_us: what the model takes there alone.
        kernel_us: [K] share of each kernel in it.
        cost: what a stage costs beyond its kernels.
    """

    lane: Lane
    whole_us: float
    kernel_us: Floats
    cost: LaneCost


def parallel_round(run: Run, knowledge: Knowledge, number: int) -> None:
    """Proposes plans of lanes that work at the same time, measures the best of them, and says what came of it."""
    best = min((c.median_us for c in (run.best_feasible_single(), *run.partitions()[:1]) if c is not None), default=0.0)
    teams = lane_teams(run, knowledge, faster_than_us=best / LEAST_GAIN)
    if not teams:
        return
    with run.budget.phase("search"):
        run.observer.progress("search", 0, 0, text="plans of lanes that work at the same time")
        proposals = _proposals(run, teams)
    fresh = [proposal for proposal in proposals if proposal.predicted_us < best / LEAST_GAIN][:MOST_MEASURED]
    promising = len(fresh)
    while fresh and not has_time(run, reserve_s(run) + round_s(run, fresh)):
        fresh.pop()
    if not fresh:
        if promising:
            run.warnings.append(f"no time was left to measure {promising} plans of lanes that work at the same time.")
        return
    with run.budget.phase("verify"):
        measured = measure_round(run, knowledge, fresh, number)
    run.counters.rounds = max(run.counters.rounds, number)
    times = [contender.median_us for contender in measured if isinstance(contender.result, Measurement)]
    run.parallel_tried = len(fresh)
    single = run.best_feasible_single()
    if not times:
        run.warnings.append(
            f"plans of lanes that work at the same time: {len(fresh)} tried, none ran within the tolerance."
        )
    elif single is not None:
        run.parallel_gain = single.median_us / min(times)
        if run.parallel_gain <= 1:
            run.warnings.append(
                f"plans of lanes that work at the same time were tried: {run.parallel_tried} measured, the best has "
                f"{run.parallel_gain:.2f}x the speed of the best single processor."
            )


def _proposals(run: Run, teams: Sequence[LaneTeam]) -> list[Proposal]:
    graph = run.task.graph
    sites = find_sites(graph, longest=LONGEST_CHAIN)

    def fits(split: SplitChoice) -> bool:
        names = tuple(name for kernel in split.kernels for name in graph.kernels[kernel].operators)
        return can_divide(graph, Split(operators=names, axis=split.axis, shares=split.shares))

    found: dict[str, Proposal] = {}
    for team in teams:
        for proposal in parallel_proposals(
            team,
            scenario=run.settings.scenario,
            cuts=graph.cuts,
            sites=sites,
            seconds=PLACING_S,
            seed=run.settings.seed,
            fits=fits,
        ):
            found.setdefault(proposal.candidate.hash, proposal)
    return sorted(found.values(), key=lambda proposal: proposal.predicted_us)


def lane_teams(run: Run, knowledge: Knowledge, *, faster_than_us: float) -> list[LaneTeam]:
    """Lanes that could beat that time if they shared the work without any loss; the most promising first.

    The more lanes, the better they would be without loss, so the best of each number of lanes comes before all others.
    """
    players = _players(run, knowledge)
    ranked = sorted(_groups(players, run.place.device.cores), key=_without_loss_us)
    good = [group for group in ranked if _without_loss_us(group) < faster_than_us]
    if not good:
        return []
    first = list({len(group): group for group in reversed(good)}.values())
    chosen = [*first, *(group for group in good if all(group is not own for own in first))][:MOST_TEAMS]
    needs = kernel_needs(run.task.graph)
    predictor = slowdown_predictor(run.place, run.store)
    return [_team(run, group, needs, predictor) for group in sorted(chosen, key=_without_loss_us)]


def _without_loss_us(group: Sequence[Player]) -> float:
    return 1 / sum(1 / player.whole_us for player in group)


def _players(run: Run, knowledge: Knowledge) -> list[Player]:
    """Every processor and number of threads that ran the whole model within the tolerance, kernels scaled to it."""
    found: dict[tuple[str, Precision, int], Player] = {}
    for contender in run.singles():
        lane = contender.lanes[0]
        kernels = _kernels_like(knowledge, lane)
        if kernels is None or not run.feasible(contender) or lane.concurrency.streams > 1:
            continue
        key = (lane.processor, lane.precision, lane.concurrency.threads)
        whole_us = _alone_us(contender)
        if (lane.on_cpu and not lane.concurrency.threads) or (key in found and found[key].whole_us <= whole_us):
            continue
        own, kernel_us = kernels
        cost = knowledge.stage_cost.get(own, LaneCost(call_us=0.0, per_byte_in_us=0.0, per_byte_out_us=0.0))
        total = float(kernel_us.sum())
        if math.isfinite(total) and total > 0 and whole_us > cost.call_us:
            scaled = kernel_us * ((whole_us - cost.call_us) / total)
            found[key] = Player(lane=lane, whole_us=whole_us, kernel_us=scaled, cost=cost)
    return list(found.values())


def _alone_us(contender: Contender) -> float:
    """Time of one request; with several callers by Little's law, and then with the others beside it."""
    candidate = contender.candidate
    return contender.median_us * (candidate.callers * candidate.batch if candidate is not None else 1)


def _kernels_like(knowledge: Knowledge, lane: Lane) -> tuple[Lane, Floats] | None:
    """Kernel costs of the processor at this precision: those of the lane with the nearest number of threads."""
    known = [own for own in knowledge.kernel_us if (own.processor, own.precision) == (lane.processor, lane.precision)]
    if not known:
        return None
    threads = lane.concurrency.threads
    nearest = min(known, key=lambda own: (abs(own.concurrency.threads - threads), str(own)))
    return nearest, knowledge.kernel_us[nearest]


def _groups(players: Sequence[Player], cores: Sequence[int]) -> Iterator[tuple[Player, ...]]:
    """Two or more lanes: processors with memory and cores of their own, and shares of the cores, pinned."""
    devices = {player.lane.processor for player in players if not player.lane.on_cpu}
    for size in range(2, min(MOST_LANES, len(cores) + len(devices)) + 1):
        for group in itertools.combinations_with_replacement(players, size):
            others = [player.lane.processor for player in group if not player.lane.on_cpu]
            threads = sum(player.lane.concurrency.threads for player in group if player.lane.on_cpu)
            if len(set(others)) == len(others) and threads <= len(cores):
                yield _apart(group, cores) if size - len(others) > 1 else group


def _apart(group: Sequence[Player], cores: Sequence[int]) -> tuple[Player, ...]:
    """Those on the CPU pinned to cores of their own."""
    found, first = [], 0
    for player in group:
        threads = player.lane.concurrency.threads if player.lane.on_cpu else 0
        own = cores[first : first + threads]
        first += threads
        found.append(replace(player, lane=_pinned(player.lane, own)) if own else player)
    return tuple(found)


def _pinned(lane: Lane, cores: Sequence[int]) -> Lane:
    spinning = False if lane.processor == "cpu" and len(cores) > 1 else lane.concurrency.spinning
    return replace(lane, concurrency=Concurrency(threads=len(cores), cores=tuple(cores), spinning=spinning))


def _team(run: Run, group: Sequence[Player], needs: KernelNeeds, predictor: SlowdownPredictor) -> LaneTeam:
    lanes = tuple(player.lane for player in group)
    corun: CoRun = {}
    if run.settings.scenario is Scenario.SINGLE_STREAM:  # with several callers each was measured beside the others
        kernels = [use.kernel for use in run.task.graph.kernels]
        table = SlowdownTable(kernels, {player.lane: player.kernel_us for player in group}, predictor)
        everything = tuple(range(len(kernels)))
        corun = slowdowns(table, [everything] * len(lanes), range(len(lanes)), lanes)
    return LaneTeam(
        lanes=lanes,
        kernel_us=np.stack([player.kernel_us for player in group], axis=1),
        costs=tuple(player.cost for player in group),
        needs=needs,
        corun=corun,
    )
