"""Measures proposals: their output error first, then their time beside the best single processor."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.api.deciding import has_time, reserve_s
from autotune.api.knowledge import Knowledge
from autotune.api.run import ACCEPT_MARGIN, Contender, Run
from autotune.api.screening import patience_s, screen_beside
from autotune.core import Candidate, Failure, Measurement, one_line
from autotune.errors import StoreError
from autotune.planning import Proposal
from autotune.profiler import Job, run_outputs

SCREEN_ROUNDS = 6
OUTPUTS_DEADLINE_S = 120.0


def round_s(run: Run, proposals: Sequence[Proposal]) -> float:
    """About how long measuring these takes: outputs on the samples, opening, screening."""
    samples = len(run.task.search_samples.reference)
    each_s = sum((samples + 2 * SCREEN_ROUNDS) * proposal.predicted_us * 1e-6 + 3.0 for proposal in proposals)
    return each_s + 2.0


def measure_round(
    run: Run, knowledge: Knowledge, proposals: Sequence[Proposal], number: int, *, most: int | None = None
) -> list[Contender]:
    """Output error first (cheap and decisive), then time, interleaved with the best single processor.

    Args:
        run: the search.
        knowledge: its error model learns from what is found.
        proposals: the most promising first.
        number: of the round.
        most: how many are timed; the others take the places of those whose error is too large. All where None.
    """
    fit: list[Contender] = []
    for at, proposal in enumerate(proposals):
        extra = most is not None and at >= most
        if len(fit) == most or (extra and not has_time(run, reserve_s(run) + round_s(run, [proposal]))):
            break
        name = f"plan:{proposal.candidate.hash}"
        job = _job(run, proposal.candidate, name)
        if job is None:
            continue
        contender = Contender(name=name, job=job, candidate=proposal.candidate, proposal=proposal, round=number)
        run.contenders[name] = contender
        _measure_error(run, knowledge, contender)
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


def _job(run: Run, candidate: Candidate, name: str) -> Job | None:
    """The job of a candidate; None where its files cannot be made, which costs only itself."""
    try:
        return run.bench.job(candidate, name)
    except (StoreError, OSError):  # a full disk ends the measuring
        raise
    except Exception as error:  # noqa: BLE001 - the edge of a trial: the plan measured so far must not be lost
        run.observer.event("note", {"text": f"{candidate} cannot be written as files: {one_line(str(error))}"})
        return None


def _within(run: Run, contender: Contender) -> bool:
    """Whether a partition's error leaves a margin on the inputs of the search."""
    return contender.error is not None and contender.error.relative_rms <= ACCEPT_MARGIN * run.settings.tolerance


def _measure_error(run: Run, knowledge: Knowledge, contender: Contender) -> None:
    outputs = run_outputs(
        contender.job,
        str(run.task.search_samples.path),
        deadline_s=OUTPUTS_DEADLINE_S,
        silence_s=patience_s(run, [contender.job]),
        worker=run.worker,
    )
    if isinstance(outputs, Failure):
        contender.result = outputs
        return
    contender.error = run.task.error(outputs, run.task.search_samples)
    candidate = contender.candidate
    if candidate is not None and candidate.stages_are_runs and contender.below_float32:  # in sets kernels overlap
        knowledge.errors.verified(candidate, run.task.part_errors(outputs, run.task.search_samples))


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
