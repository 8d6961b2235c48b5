"""A joint plan measured again, beside what it was compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotune.api.plan_inputs import sample_of
from autotune.api.together_run import ALL_DEFAULT, SIDE_BY_SIDE, median_us
from autotune.api.workplace import Guarded, measuring_workplace
from autotune.core import DEFAULT_LANE, Failure, JointMember, JointPlan, Observer, Plan, Ratio, Scenario, Sharing
from autotune.core import SilentObserver as Silent
from autotune.errors import UnknownNameError
from autotune.graph import save_arrays
from autotune.planning import Objective, interval
from autotune.profiler import Job, JobStage, JointJob, JointTimes, measure_together
from autotune.runtime import load_plans, read_joint, read_plan, whole_model

SPAN_S = 1.0
DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JointBenchRow:
    """One way to serve all models, measured.

    Args:
        name: `plan`, `side_by_side` or `default`.
        throughputs_per_s: of each model, median of the launches.
        normalised: throughputs over what each model reached alone when the plan was made.
        latencies_us: median latency of each model.
        plan_gain: how many times better the plan is, by its objective; None for the plan itself.
        failure: why there are no figures.
    """

    name: str
    throughputs_per_s: tuple[float, ...] = ()
    normalised: tuple[float, ...] = ()
    latencies_us: tuple[float, ...] = ()
    plan_gain: Ratio | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointBenchResult:
    """A joint plan and what it was compared with, measured again; the plan first."""

    plan: JointPlan
    launches: int
    rows: tuple[JointBenchRow, ...]


def bench_plans(
    folder: Path,
    *,
    launches: int = 6,
    inputs: Mapping[str, Sequence[Path]] | None = None,
    home: Path | None = None,
    observer: Observer | None = None,
    wait_s: float = 600.0,
) -> JointBenchResult:
    """Measures a joint plan again beside each model's own best plan side by side and ONNX Runtime's default.

    Args:
        folder: the joint plan.
        launches: fresh processes of each; at least 2.
        inputs: real inputs for timing by model; random ones otherwise.
        home: folder with the device's lock.
        observer: is told of the progress.
        wait_s: seconds to wait for another measuring process.

    Raises:
        PlanError: the plan is damaged or does not fit this device.
        DeviceBusyError: another process measures on this device.
    """
    watcher = Guarded(observer or Silent())
    joint = read_joint(folder)
    load_plans(folder).close()
    for name in inputs or {}:
        if name not in joint.names:
            raise UnknownNameError("model", name, known=joint.names)
    count = max(2, launches)
    with measuring_workplace(home, watcher, wait_s=wait_s) as place:
        jobs = _jobs(joint, folder, place.work, inputs or {})
        done = 0

        def tell(_at: int, _result: object) -> None:
            nonlocal done
            done += 1
            watcher.progress("bench", done, count * len(jobs))

        found = measure_together(jobs, launches=count, span_s=SPAN_S, deadline_s=DEADLINE_S, on_result=tell)
    objective = Objective(
        fairness=joint.fairness,
        weights=tuple(member.weight for member in joint.members),
        alone_us=tuple(1e6 / member.alone.throughput_per_s for member in joint.members),
        alone_latency_us=tuple(member.alone.p50_us for member in joint.members),
    )
    rows = [_row(objective, job, results, found[0]) for job, results in zip(jobs, found, strict=True)]
    return JointBenchResult(plan=joint, launches=count, rows=tuple(rows))


def _jobs(joint: JointPlan, folder: Path, work: Path, inputs: Mapping[str, Sequence[Path]]) -> list[JointJob]:
    plans = {name: read_plan(folder / name) for name in joint.names}
    for name, plan in plans.items():
        save_arrays(work / f"{name}.npz", sample_of(plan, inputs.get(name, ())))
    weights = tuple((member.name, member.weight) for member in joint.members)

    def job(name: str, stages: Mapping[str, tuple[JobStage, ...]], callers: Mapping[str, int]) -> JointJob:
        members = tuple(
            Job(
                name=model,
                stages=stages[model],
                outputs=tuple(tensor.name for tensor in plan.model.outputs),
                feeds=str(work / f"{model}.npz"),
                callers=callers[model],
                batch=plan.batch,
                scenario=plan.scenario,
            )
            for model, plan in plans.items()
        )
        return JointJob(name=name, members=members, turns=joint.turns if name == "plan" else (), weights=weights)

    own = {
        name: tuple(JobStage(file=str(folder / name / stage.file), lane=stage.lane) for stage in plan.stages)
        for name, plan in plans.items()
    }
    found = [job("plan", own, {name: plan.callers for name, plan in plans.items()})]
    if joint.sharing is not Sharing.SIDE_BY_SIDE and all(_whole(m, plans[m.name]) for m in joint.members):
        alone = {m.name: (JobStage(file=_file(folder, m.name), lane=m.own.stages[0].lane),) for m in joint.members}
        found.append(job(SIDE_BY_SIDE, alone, {m.name: m.own.callers for m in joint.members}))
    default = {name: (JobStage(file=_file(folder, name), lane=DEFAULT_LANE),) for name in plans}
    callers = len(joint.device.cores) if joint.scenario is Scenario.OFFLINE else 1
    found.append(job(ALL_DEFAULT, default, dict.fromkeys(plans, callers)))
    return found


def _file(folder: Path, name: str) -> str:
    return str(whole_model(folder / name))


def _whole(member: JointMember, plan: Plan) -> bool:
    """Whether the model's own best plan can be run from this folder: it is no partition, and of the same batch."""
    return member.own.is_single_lane and member.own.batch == plan.batch


def _row(
    objective: Objective,
    job: JointJob,
    found: Sequence[JointTimes | Failure],
    plan: Sequence[JointTimes | Failure],
) -> JointBenchRow:
    good = [result for result in found if isinstance(result, JointTimes)]
    if not good:
        message = next((result.message for result in found if isinstance(result, Failure)), "no launch finished")
        return JointBenchRow(name=job.name, failure=message)
    each = tuple(float(np.median([r.members[at].each_us for r in good])) for at in range(len(job.members)))
    latencies = [[median_us(r.members[at].latencies_us) for r in good] for at in range(len(job.members))]
    pairs = [
        np.log(_score(objective, new) / _score(objective, old))
        for old, new in zip(found, plan, strict=True)
        if isinstance(old, JointTimes) and isinstance(new, JointTimes)
    ]
    return JointBenchRow(
        name=job.name,
        throughputs_per_s=tuple(1e6 / us for us in each),
        normalised=objective.throughputs(each),
        latencies_us=tuple(float(np.median(values)) for values in latencies),
        plan_gain=interval(pairs) if job.name != "plan" else None,
    )


def _score(objective: Objective, result: JointTimes) -> float:
    return objective.score(
        [member.each_us for member in result.members],
        [median_us(member.latencies_us) for member in result.members],
    )
