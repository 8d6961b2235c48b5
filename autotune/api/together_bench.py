"""A joint plan measured again, beside what it was compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autotune.api.plan_inputs import sample_of
from autotune.api.together_run import ALL_DEFAULT, SIDE_BY_SIDE, median_us
from autotune.api.workplace import Guarded, measuring_workplace
from autotune.core import DEFAULT_LANE, Failure, JointMember, JointPlan, Lane, Observer, Ratio, Scenario, Sharing
from autotune.core import SilentObserver as Silent
from autotune.errors import UnknownNameError
from autotune.graph import save_arrays
from autotune.planning import Objective, interval
from autotune.profiler import Job, JobStage, JointJob, JointTimes, measure_together
from autotune.runtime import load_plans, own_folder, read_joint, read_plan, whole_model

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
    if joint.sharing is not Sharing.SIDE_BY_SIDE and len(rows) == 2:
        rows.insert(1, JointBenchRow(name=SIDE_BY_SIDE, failure="not kept in this plan's folder: search again"))
    return JointBenchResult(plan=joint, launches=count, rows=tuple(rows))


def _jobs(joint: JointPlan, folder: Path, work: Path, inputs: Mapping[str, Sequence[Path]]) -> list[JointJob]:
    for name in joint.names:
        save_arrays(work / f"{name}.npz", sample_of(read_plan(folder / name), inputs.get(name, ())))
    held = _Held(joint=joint, folder=folder, work=work)
    weights = tuple((member.name, member.weight) for member in joint.members)
    planned = tuple(held.planned(name, name) for name in joint.names)
    found = [JointJob(name="plan", members=planned, turns=joint.turns, weights=weights)]
    own = [held.own(member) for member in joint.members]
    alone = tuple(job for job in own if job is not None)
    if joint.sharing is not Sharing.SIDE_BY_SIDE and len(alone) == len(own):
        found.append(JointJob(name=SIDE_BY_SIDE, members=alone, weights=weights))
    callers = len(joint.device.cores) if joint.scenario is Scenario.OFFLINE else 1
    default = tuple(held.whole(name, DEFAULT_LANE, callers) for name in joint.names)
    return [*found, JointJob(name=ALL_DEFAULT, members=default, weights=weights)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What a joint plan's folder holds, as jobs; `work` has the inputs by model."""

    joint: JointPlan
    folder: Path
    work: Path

    def planned(self, name: str, place: str) -> Job:
        """A model as the plan in a folder inside has it."""
        plan = read_plan(self.folder / place)
        return Job(
            name=name,
            stages=tuple(JobStage(file=str(self.folder / place / one.file), lane=one.lane) for one in plan.stages),
            outputs=tuple(tensor.name for tensor in plan.model.outputs),
            feeds=str(self.work / f"{name}.npz"),
            callers=plan.callers,
            batch=plan.batch,
            scenario=plan.scenario,
        )

    def whole(self, name: str, lane: Lane, callers: int) -> Job:
        """A whole model on one lane."""
        stage = JobStage(file=str(whole_model(self.folder / name)), lane=lane)
        return replace(self.planned(name, name), stages=(stage,), callers=callers)

    def own(self, member: JointMember) -> Job | None:
        """A model's own best plan; None where it was not kept."""
        if member.own_is_whole(self.planned(member.name, member.name).batch):
            return self.whole(member.name, member.own.stages[0].lane, member.own.callers)
        place = own_folder(self.joint, member.name)
        return self.planned(member.name, place) if (self.folder / place).is_dir() else None


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
