"""The plan's folder: written as a whole, run once before it is delivered."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from autotune.api.run import DEFAULT, STAGES, Contender, Run
from autotune.api.screening import patience_s
from autotune.api.taken import left_to_others
from autotune.api.verdict import baselines_of, best_single_name, predicted_timing, unrepeatable, verdict_of
from autotune.core import (
    Candidate,
    Failure,
    Plan,
    Stage,
    Verdict,
    one_line,
    serial,
)
from autotune.errors import MeasurementError, PlanError, StoreError
from autotune.graph import Graph
from autotune.planning import Decision, WrittenStage, write_stages
from autotune.profiler import Job, JobStage, run_outputs
from autotune.runtime import write_plan

PROOF_DEADLINE_S = 300.0

REWRITE_ERROR = 1e-5
"""What folding constants may change, relative to the original file."""


def build_plan(
    run: Run,
    winner: Contender,
    decision: Decision | None,
    *,
    verdict: Verdict | None = None,
    folder: Path | None = None,
) -> tuple[Plan, Path]:
    """Writes the plan's folder; nothing half-written stays there.

    Args:
        run: the search.
        winner: what the plan holds.
        decision: from the launches, None where there were none.
        verdict: the answer, where it does not follow from this search alone.
        folder: where it goes; None: where the search's plan does.

    Raises:
        MeasurementError: the winner has no stages of its own, or does not work any more.
    """
    if winner.candidate is None:
        raise MeasurementError(f"{winner.name} cannot be stored as a plan")
    graph = run.bench.batched(winner.candidate.batch)
    folder = folder or run.settings.output or default_folder(run)
    staging = run.place.work / "plan"
    shutil.rmtree(staging, ignore_errors=True)  # of a plan that was written before
    candidate = winner.candidate
    if candidate.is_single_lane:  # a batched graph can have another number of kernels
        everything = replace(candidate.stages[0], stop=len(graph.kernels))
        candidate = replace(candidate, stages=(everything,))
    written = _written(run, graph, candidate, staging)
    own = written[:-1] if len(written) > 1 else written
    stages = tuple(
        Stage(
            file=stage.path.name,
            start=stage.choice.start,
            stop=stage.choice.stop,
            lane=stage.choice.lane,
            inputs=stage.inputs,
            outputs=stage.outputs,
            operators=stage.operators,
            kernels=stage.choice.kernels,
            part=stage.choice.part,
        )
        for stage in own
    )
    _prove(run, winner, own)
    run.warnings += left_to_others(run, own)
    over = dict(decision.over) if decision is not None else {}
    source = candidate.source(serial=serial([(stage.inputs, stage.outputs) for stage in stages]))
    plan = Plan(
        model=replace(run.task.info, inputs=graph.inputs, outputs=graph.outputs),
        scenario=run.settings.scenario,
        latency_bound_us=run.aim.bound_us,
        stages=stages,
        callers=winner.candidate.callers,
        batch=winner.candidate.batch,
        tolerance=run.settings.tolerance,
        device=run.place.device,
        versions=versions_of(run),
        predicted=predicted_timing(winner),
        measured=run.timing(winner),
        error=winner.held_out or winner.error,
        baselines=baselines_of(run),
        over_default=over.get(DEFAULT),
        over_best_single=over.get(best_single_name(run, decision)),
        verdict=verdict or verdict_of(run, winner, decision, source=source),
        splits=candidate.splits,
    )
    whole_file = written[-1].path.name
    try:
        write_plan(plan, folder, files=staging, whole=whole_file)
    except (StoreError, PlanError) as error:
        if run.settings.output is None:
            raise
        folder = default_folder(run)
        run.warnings.append(f"{error}. The plan lies in {folder} instead.")
        write_stages(graph, candidate, staging, whole=True)  # the first attempt may have moved some away
        write_plan(plan, folder, files=staging, whole=whole_file)
    return plan, folder


def _written(run: Run, graph: Graph, candidate: Candidate, folder: Path) -> tuple[WrittenStage, ...]:
    """The plan's stages and the whole model; without room, the files of other candidates go first."""
    try:
        return write_stages(graph, candidate, folder, whole=True)
    except StoreError:
        shutil.rmtree(run.place.work / STAGES, ignore_errors=True)
        return write_stages(graph, candidate, folder, whole=True)


def _prove(run: Run, winner: Contender, written: Sequence[WrittenStage]) -> None:
    """Runs the files that the plan will hold once more: what is delivered is what was measured.

    Raises:
        MeasurementError: they cannot be run, or give other outputs.
    """
    stages = tuple(JobStage(file=str(stage.path), lane=stage.choice.lane) for stage in written)
    job = Job(
        name="plan",
        stages=stages,
        outputs=run.task.outputs,
        feeds=str(run.task.feeds),
        batch=winner.job.batch,
    )
    outputs = run_outputs(
        job,
        str(run.task.search_samples.path),
        deadline_s=PROOF_DEADLINE_S,
        silence_s=patience_s(run, [job]),
        worker=run.worker,
    )
    if isinstance(outputs, Failure):
        raise MeasurementError(f"the plan's files cannot be run: {outputs.message}")
    if unrepeatable(run, winner):  # the verdict says so
        return
    error = run.task.error(outputs, run.task.search_samples)
    if error.relative_rms > max(run.settings.tolerance, REWRITE_ERROR):
        raise MeasurementError(f"the plan's files give other outputs: relative error {error.relative_rms:.1e}")


def sentence(error: Exception) -> str:
    """What an error says, on one line, with a full stop."""
    return f"{one_line(str(error)).rstrip('.')}."


def unwritten(error: Exception, plan: str) -> StoreError:
    """What is raised where a plan cannot be written anywhere: the message says what was found."""
    return StoreError(
        f"{sentence(error)} The plan was not written; it was {plan}. "
        "What was profiled is kept: make room (AUTOTUNE_HOME, --output, TMPDIR) and search again."
    )


def versions_of(run: Run) -> tuple[tuple[str, str], ...]:
    """Of what a plan was measured with."""
    import autotune

    name, _, version = run.place.discovery.runtime.partition(" ")
    providers = [(processor.provider, processor.version) for processor in run.place.processors]
    return (("autotune", autotune.__version__), (name, version), *providers)


def default_folder(run: Run) -> Path:
    """`<home>/plans/<model>-<scenario>-<time>`."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return run.place.home / "plans" / f"{run.task.info.name}-{run.settings.scenario.value}-{stamp}"
