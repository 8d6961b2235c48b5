"""Plans whose stages work at the same time: proposed from what the search knows, and measured at most three times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autotune.api.deciding import has_time, reserve_s
from autotune.api.knowledge import Knowledge
from autotune.api.lane_teams import best_groups, lane_teams, players_of
from autotune.api.run import ParallelOutcome, Run
from autotune.api.verifying import measure_round, round_s
from autotune.core import Measurement, SplitChoice
from autotune.graph import Split, can_divide, find_sites
from autotune.planning import LaneTeam, Proposal, parallel_proposals

MOST_MEASURED = 3
"""Measurements after which plans that work at the same time are given up."""
PLACING_S = 1.0
LEAST_GAIN = 1.015
"""Predicted gain under which a plan is not worth a measurement."""
LONGEST_CHAIN = 4
"""Kernels of a chain that is divided."""


def parallel_round(run: Run, knowledge: Knowledge, number: int) -> None:
    """Proposes plans of lanes that work at the same time, measures the best of them, and says what came of it."""
    best = min((c.median_us for c in (run.best_feasible_single(), *run.partitions()[:1]) if c is not None), default=0.0)
    enough = best / LEAST_GAIN
    groups = best_groups(players_of(run, knowledge), run.place.device.cores)
    good = [group for ideal_us, group in groups if ideal_us < enough]
    if not good:
        if groups:
            _rule_out(run, f"even ideally shared {best / groups[0][0]:.2f}x the speed of the best so far")
        return
    teams = lane_teams(run, good)
    with run.budget.phase("search"):
        run.observer.progress("search", 0, 0, text="plans of lanes that work at the same time")
        proposals = _proposals(run, teams)
    fresh = [proposal for proposal in proposals if proposal.predicted_us < enough][:MOST_MEASURED]
    promising = len(fresh)
    while fresh and not has_time(run, reserve_s(run) + round_s(run, fresh)):
        fresh.pop()
    if not fresh:
        if promising:
            run.warnings.append(f"no time was left to measure {promising} plans of lanes that work at the same time.")
        else:
            gain = best / proposals[0].predicted_us if proposals else 0.0
            _rule_out(run, f"the best is predicted to have {gain:.2f}x the speed of the best so far")
        return
    with run.budget.phase("verify"):
        measured = measure_round(run, knowledge, fresh, number)
    run.counters.rounds = max(run.counters.rounds, number)
    times = [contender.median_us for contender in measured if isinstance(contender.result, Measurement)]
    run.parallel = ParallelOutcome(tried=len(fresh))
    single = run.best_feasible_single()
    if not times:
        run.warnings.append(
            f"plans of lanes that work at the same time: {len(fresh)} tried, none ran within the tolerance."
        )
    elif single is not None:
        gain = single.median_us / min(times)
        run.parallel = replace(run.parallel, gain=gain)
        if gain <= 1:
            run.warnings.append(
                f"plans of lanes that work at the same time were tried: {len(fresh)} measured, the best has "
                f"{gain:.2f}x the speed of the best single processor."
            )


def _rule_out(run: Run, why: str) -> None:
    run.parallel = ParallelOutcome(ruled_out=why)


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
