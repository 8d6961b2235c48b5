"""Measures proposals: their output error first, then their time beside the best single processor."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.api.knowledge import Knowledge
from autotune.api.run import ACCEPT_MARGIN, Contender, Run
from autotune.api.screening import screen_beside
from autotune.core import Failure, Measurement
from autotune.planning import CostTable, Proposal
from autotune.profiler import run_outputs

SCREEN_ROUNDS = 6
OUTPUTS_DEADLINE_S = 120.0


def round_s(run: Run, proposals: Sequence[Proposal]) -> float:
    """About how long measuring these takes: outputs on the samples, opening, screening."""
    samples = len(run.task.search_samples.reference)
    each_s = sum((samples + 2 * SCREEN_ROUNDS) * proposal.predicted_us * 1e-6 + 3.0 for proposal in proposals)
    return each_s + 2.0


def measure_round(
    run: Run, knowledge: Knowledge, tables: Sequence[CostTable], proposals: Sequence[Proposal], number: int
) -> list[Contender]:
    """Output error first (cheap and decisive), then time, interleaved with the best single processor."""
    fit: list[Contender] = []
    for proposal in proposals:
        name = f"plan:{proposal.candidate.hash}"
        contender = Contender(
            name=name,
            job=run.bench.job(proposal.candidate, name),
            candidate=proposal.candidate,
            proposal=proposal,
            round=number,
        )
        run.contenders[name] = contender
        _measure_error(run, knowledge, tables, contender)
        if isinstance(contender.result, Failure):
            continue
        if run.feasible(contender) and _within(run, contender):
            fit.append(contender)
    if not fit:
        return []
    best, seed = run.best_feasible_single(), run.settings.seed + number
    screen_beside(run, best, fit, phase=f"verify round {number}", rounds=SCREEN_ROUNDS, seed=seed)
    for contender in fit:
        _tell(run, contender)
    return fit


def _within(run: Run, contender: Contender) -> bool:
    """Whether a partition's error leaves a margin on the inputs of the search."""
    return contender.error is not None and contender.error.relative_rms <= ACCEPT_MARGIN * run.settings.tolerance


def _measure_error(run: Run, knowledge: Knowledge, tables: Sequence[CostTable], contender: Contender) -> None:
    outputs = run_outputs(
        contender.job, str(run.task.search_samples.path), deadline_s=OUTPUTS_DEADLINE_S, worker=run.worker
    )
    if isinstance(outputs, Failure):
        contender.result = outputs
        return
    contender.error = run.task.error(outputs, run.task.search_samples)
    table = next((t for t in tables if set(contender.lanes) <= set(t.lanes)), None)
    if table is None or contender.candidate is None or not contender.below_float32:
        return
    low = [lane for lane in contender.lanes if not lane.precision.is_reference]
    found = run.task.part_errors(outputs, run.task.search_samples)
    knowledge.errors.verified(table.candidate_error(contender.candidate), found, low)


def _tell(run: Run, contender: Contender) -> None:
    if contender.proposal is None or contender.candidate is None:
        return
    measured_us = contender.median_us if isinstance(contender.result, Measurement) else None
    run.keep_verified(contender)
    run.observer.event(
        "candidate",
        {
            "name": str(contender.candidate),
            "hash": contender.candidate.hash,
            "stages": len(contender.candidate.stages),
            "predicted_ms": contender.proposal.predicted_us / 1e3,
            "p50_ms": measured_us / 1e3 if measured_us is not None else None,
            "throughput_per_s": 1e6 / measured_us if measured_us is not None else None,
            "relative_rms": contender.error.relative_rms if contender.error else None,
            "feasible": run.feasible(contender),
            "round": contender.round,
        },
    )
