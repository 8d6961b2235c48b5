"""Rounds of proposing, measuring and learning."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autotune.api.deciding import LAUNCHES, MIN_LAUNCHES, has_time, reserve_s
from autotune.api.front_round import front_round
from autotune.api.knowledge import Knowledge
from autotune.api.parallel import parallel_round
from autotune.api.run import ACCEPT_MARGIN, SEARCH_MARGIN, Run
from autotune.api.verifying import measure_round, round_s
from autotune.core import Measurement, Scenario
from autotune.planning import CostTable, Explorer, Proposal, exact_chain, exact_seeds

MAX_ROUNDS = 4
PER_ROUND = 3
MOST_LOOKED_AT = 8
"""Proposals a round whose output error is measured, until as many as are timed are within the tolerance."""
HOPE = 0.6
"""What cuts cost, over what they are predicted to: that far off they may be before any is measured in this model."""
MOST_HOPEFUL = 2
NOISE = 0.015
"""Relative gain under which a prediction is not worth another round."""
SEARCH_S = 2.0
"""Most seconds of Optuna trials in the first round, a third of it in later ones: the exact seeds are there before."""
CURVE = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def search_rounds(run: Run, knowledge: Knowledge) -> None:
    """Proposes, measures, corrects the models; stops when nothing above the noise is left to gain."""
    explorer = Explorer(
        name=study_name(run), storage=run.place.home / "studies" / f"{study_name(run)}.log", seed=run.settings.seed
    )
    for number in range(1, MAX_ROUNDS + 1):
        tables = knowledge.tables(run, low_precision=run.low_precision_allowed)
        if not tables or len(tables[0].lanes) < 2:
            run.observer.event("note", {"text": "only one lane can run this model: there is nothing to partition."})
            break
        run.counters.table_candidates += sum(table.triples for table in tables)
        with run.budget.phase("search"):
            run.observer.progress("search", number, MAX_ROUNDS, text="exact seeds and Optuna trials")
            proposals = explorer.explore(
                tables, budgets=_error_budgets(run), trials=run.settings.trials, until=_until(run, number)
            )
            run.counters.trials += explorer.trials
            explorer.trials = 0
        fresh = _worth_measuring(run, proposals)
        if not fresh and number == 1:
            fresh = _hopeful(run, tables)
        if not fresh:
            break
        launches = MIN_LAUNCHES if number == 1 else LAUNCHES  # a first round is worth more than two launches
        if not has_time(run, reserve_s(run, launches) + round_s(run, fresh[:PER_ROUND])):
            run.unmeasured_us = fresh[0].predicted_us
            break
        run.counters.rounds = number
        with run.budget.phase("verify"):
            measured = measure_round(run, knowledge, fresh, number, most=PER_ROUND)
        for contender in measured:
            if isinstance(contender.result, Measurement) and contender.proposal is not None:
                explorer.measured(contender.proposal, contender.result.median_us)
        _learn_overhead(run, knowledge, tables)
        best = run.best_feasible_single()
        fields = {"step": number, "best_single_us": best.median_us if best else 0.0, "proposed": len(fresh)}
        found = run.partitions()
        run.observer.event("metrics", fields | {"best_partition_us": found[0].median_us if found else 0.0})
    parallel_round(run, knowledge, MAX_ROUNDS + 1)
    front_round(run, knowledge, MAX_ROUNDS + 2)
    if run.settings.scenario is Scenario.SINGLE_STREAM:  # tables price one request; under load that is not what decides
        run.curve = tolerance_curve(run, knowledge)


def _error_budgets(run: Run) -> list[float]:
    """Squared errors that proposals may be predicted to have: all that is accepted, and a safe part of it."""
    return [(run.settings.tolerance * margin) ** 2 for margin in (ACCEPT_MARGIN, SEARCH_MARGIN)]


def _until(run: Run, number: int) -> float:
    """When trials end: a few seconds, or where their number was asked for, as long as deciding does not suffer."""
    if run.settings.trials is None:
        return time.monotonic() + min(SEARCH_S if number == 1 else SEARCH_S / 3, max(run.budget.left_s, 0.0))
    return time.monotonic() + max(run.budget.left_s - reserve_s(run), 0.0)


def study_name(run: Run) -> str:
    """Equal for searches whose trials may be mixed."""
    parts = [
        run.task.info.sha256,
        run.place.device.id,
        run.place.discovery.runtime,
        str(run.settings.scenario),
        str(run.settings.tolerance),
        str(run.low_precision_allowed),
        *(processor.name for processor in run.place.processors),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _worth_measuring(run: Run, proposals: Sequence[Proposal]) -> list[Proposal]:
    """Unmeasured partitions that could beat the best so far, far enough from each other to teach something."""
    single = run.best_feasible_single()
    partitions = run.partitions()
    best = min(single.median_us if single else float("inf"), partitions[0].median_us if partitions else float("inf"))
    fresh = [
        proposal
        for proposal in proposals
        if not proposal.candidate.is_single_lane
        and f"plan:{proposal.candidate.hash}" not in run.contenders
        and proposal.predicted_us < best * (1 - NOISE)
    ]
    return fresh[:MOST_LOOKED_AT]


def _hopeful(run: Run, tables: Sequence[CostTable]) -> list[Proposal]:
    """Where no partition is predicted to gain: those that would if cuts cost less, the least certain of all costs."""
    found: list[Proposal] = []
    for table in tables:
        cheaper = table.with_cuts(HOPE)
        seeds = [seed for budget in _error_budgets(run) for seed in exact_seeds(cheaper, budget=budget)]
        hopeful = _worth_measuring(run, sorted(seeds, key=lambda seed: seed.predicted_us))
        found.extend(replace(seed, predicted_us=table.candidate_us(seed.candidate)) for seed in hopeful)
    return list({proposal.candidate.hash: proposal for proposal in found}.values())[:MOST_HOPEFUL]


def _learn_overhead(run: Run, knowledge: Knowledge, tables: Sequence[CostTable]) -> None:
    """Verified plans correct the level of entry and exit costs, half a step at a time."""
    ratios = []
    for contender in run.contenders.values():
        if contender.round == 0 or contender.candidate is None or not isinstance(contender.result, Measurement):
            continue
        table = next((t for t in tables if set(contender.lanes) <= set(t.lanes)), None)
        if table is None:
            continue
        candidate = contender.candidate
        inside = sum(
            float(table.kernel_us[s.start : s.stop, table.lanes.index(s.lane)].sum()) for s in candidate.stages
        )
        crossing = table.candidate_us(candidate) - inside
        if crossing > 0:
            ratios.append((contender.median_us - inside) / crossing)
    if ratios:
        step = float(np.clip(np.median(ratios), 0.25, 4.0)) ** 0.5
        knowledge.overhead = float(np.clip(knowledge.overhead * step, 0.1, 10.0))


def tolerance_curve(run: Run, knowledge: Knowledge) -> list[tuple[float, float]]:
    """(tolerance, predicted time of the best plan) for looser and tighter tolerances, any precision allowed."""
    tables = knowledge.tables(run, low_precision=True)
    found = []
    for tolerance in CURVE:
        best = float("inf")
        for table in tables:
            worst = int(table.error.max(axis=1).sum(axis=0).argmax())
            weights = np.eye(table.error.shape[2])[worst]
            optimum = exact_chain(table, weights=weights, budget=(tolerance * SEARCH_MARGIN) ** 2)
            best = min(best, optimum.predicted_us if optimum is not None else float("inf"))
        if np.isfinite(best):
            found.append((tolerance, best))
    return found
