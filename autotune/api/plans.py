"""What one does with a plan: run it, measure it again, export it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autotune.api.baselines import read_user_options
from autotune.api.plan_inputs import sample_of
from autotune.api.run import USER, timing_of
from autotune.api.workplace import Guarded, measuring_workplace
from autotune.core import DEFAULT_LANE, Failure, Measurement, Observer, Plan, Ratio, Scenario, SilentObserver, Timing
from autotune.errors import ModelError, PlanError, UsageError
from autotune.graph import load, save_arrays
from autotune.planning import speedup
from autotune.processors import SessionSpec
from autotune.profiler import Job, JobStage, decide
from autotune.profiler.load import Goal, middle
from autotune.runtime import example_feeds, export_ort_config, load_plan, python_snippet, read_plan, whole_model


def run_plan(folder: Path, inputs: Sequence[Path], *, fallback: bool = False) -> list[dict[str, np.ndarray]]:
    """Runs a plan on given inputs.

    Args:
        folder: the plan.
        inputs: npz files or test_data_set folders.
        fallback: whether a whole-model session may stand in for what is missing here.

    Returns:
        One mapping from output name to array per sample.

    Raises:
        PlanError: the plan is damaged or does not fit this device.
        InputError: the inputs do not fit the plan.
        SessionError: a stage failed on them.
    """
    from autotune import models

    with load_plan(folder, fallback=fallback) as loaded:
        names = [tensor.name for tensor in loaded.plan.model.outputs]
        samples = models.load_inputs(inputs, loaded.plan.model.inputs)
        return [dict(zip(names, loaded.run(None, sample), strict=True)) for sample in samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One line of a benchmark: a name, its timing, and how many times faster the plan is."""

    name: str
    timing: Timing | None
    plan_speedup: Ratio | None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Plan and baselines measured side by side, the plan first."""

    plan: Plan
    launches: int
    rows: tuple[BenchRow, ...]


def bench_plan(
    folder: Path,
    *,
    launches: int = 6,
    inputs: Sequence[Path] = (),
    baseline: Path | None = None,
    home: Path | None = None,
    observer: Observer | None = None,
    wait_s: float = 600.0,
) -> BenchResult:
    """Measures a plan again beside ONNX Runtime's default and the best single lanes it was compared with.

    Args:
        folder: the plan.
        launches: fresh processes; at least 2.
        inputs: real inputs for timing; random ones otherwise.
        baseline: JSON file with the user's own session options, measured beside it too.
        home: folder with the device's lock.
        observer: is told of the progress.
        wait_s: seconds to wait for another measuring process.

    Raises:
        PlanError: the plan is damaged or does not fit this device.
        UsageError: the baseline file cannot be read.
        DeviceBusyError: another process measures on this device.
    """
    watcher = Guarded(observer or SilentObserver())
    plan = read_plan(folder)
    user_options = read_user_options(baseline) if baseline is not None else None
    load_plan(folder).close()
    with measuring_workplace(home, watcher, wait_s=wait_s) as place:
        feeds = place.work / "feeds.npz"
        save_arrays(feeds, sample_of(plan, inputs))
        jobs = _jobs(plan, folder, feeds, place.work, user_options)
        results = decide(
            jobs,
            launches=max(2, launches),
            deadline_s=600.0,
            goals=[goal_for(plan, job) for job in jobs] if plan.scenario.under_load else (),
            on_launch=lambda done, _: watcher.progress("bench", done, max(2, launches)),
        )
    rows = [_row(plan, job, found, results[0]) for job, found in zip(jobs, results, strict=True)]
    return BenchResult(plan=plan, launches=max(2, launches), rows=tuple(rows))


def _jobs(plan: Plan, folder: Path, feeds: Path, work: Path, user_options: SessionSpec | None = None) -> list[Job]:
    outputs = tuple(tensor.name for tensor in plan.model.outputs)

    def job(name: str, stages: tuple[JobStage, ...], callers: int, batch: int, spec: SessionSpec | None = None) -> Job:
        return Job(
            name=name,
            stages=stages,
            outputs=outputs,
            feeds=str(feeds),
            callers=callers,
            batch=batch,
            scenario=plan.scenario,
            spec=spec,
        )

    stages = tuple(JobStage(file=str(folder / stage.file), lane=stage.lane) for stage in plan.stages)
    whole = whole_model(folder)
    single, batch = _single_sample(plan, whole, work)
    alone = (JobStage(file=str(single), lane=DEFAULT_LANE),)
    callers = len(plan.device.cores) if plan.scenario.overlapping else 1
    batched = f" batch{batch}" if batch > 1 else ""
    found = [job("plan", stages, plan.callers, plan.batch), job("default" + batched, alone, callers, batch)]
    if user_options is not None:
        found.append(job(USER + batched, alone, callers, batch, user_options))
    singles = [
        baseline
        for baseline in plan.baselines
        if baseline.feasible and baseline.name != "default" and baseline.candidate is not None
        if baseline.candidate.batch == plan.batch
    ]
    for baseline in singles[:2]:
        candidate = baseline.candidate
        if candidate is not None:
            stage = JobStage(file=str(whole), lane=candidate.stages[0].lane)
            found.append(job(baseline.name, (stage,), candidate.callers, candidate.batch))
    return found


def _single_sample(plan: Plan, whole: Path, work: Path) -> tuple[Path, int]:
    """The whole model for one sample, which a search's default runs; as it is, where shapes in it need the batch.

    Returns:
        Its file, and the samples that it takes at once.
    """
    if plan.batch == 1:
        return whole, 1
    try:
        return load(whole, work=work / "whole").single(plan.batch).path, 1
    except (ModelError, UsageError):
        return whole, plan.batch


def goal_for(plan: Plan, job: Job) -> Goal:
    """What is asked of a job under load, beginning where the search measured it.

    Raises:
        PlanError: the plan says nothing about it.
    """
    known = {baseline.name: baseline.measured for baseline in plan.baselines} | {"plan": plan.measured}
    found = known.get(job.name) or plan.measured
    if found is None:
        raise PlanError("the plan was not measured under load: search again, or bench it with --scenario")
    if plan.scenario is Scenario.MULTI_STREAM:
        return Goal(scenario=plan.scenario, query_us=found.p50_us)
    rate = found.throughput_per_s / job.batch
    return Goal(scenario=plan.scenario, query_us=found.p50_us, bound_us=plan.latency_bound_us, rate_per_s=rate)


def _row(
    plan: Plan, job: Job, found: Sequence[Measurement | Failure], reference: Sequence[Measurement | Failure]
) -> BenchRow:
    good = [result for result in found if isinstance(result, Measurement)]
    if not good:
        message = next((result.message for result in found if isinstance(result, Failure)), "no launch finished")
        return BenchRow(name=job.name, timing=None, plan_speedup=None, failure=message)
    loads = [result.under_load for result in good if result.under_load is not None]
    merged = Measurement(
        samples_us=tuple(sample for result in good for sample in result.samples_us),
        load_s=good[0].load_s,
        peak_bytes=max(result.peak_bytes for result in good),
        under_load=middle(loads) if loads else None,
    )
    candidate = replace(plan.candidate, callers=job.callers, batch=job.batch)
    ratio = None if job.name == "plan" else speedup(found, reference)
    return BenchRow(name=job.name, timing=timing_of(merged, candidate), plan_speedup=ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """An exported plan and the lines of Python that use it.

    Args:
        path: `ort-config.json`.
        feeds: lines that make inputs of zeros, to be replaced.
        snippet: lines that run the plan on `feeds`.
    """

    path: Path
    feeds: str
    snippet: str


def export_plan(folder: Path, target: Path) -> ExportResult:
    """Writes what other languages need to run a plan with plain ONNX Runtime.

    Args:
        folder: the plan.
        target: folder to write to.

    Raises:
        PlanError: the plan is damaged.
    """
    path = export_ort_config(folder, target)
    return ExportResult(path=path, feeds=example_feeds(path), snippet=python_snippet(path))
