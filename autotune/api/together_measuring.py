"""Joint plans on the device: baselines, one measurement each, fresh launches of the best."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from autotune.api.deciding import measure_held_out
from autotune.api.run import Contender
from autotune.api.together_run import (
    ALL_DEFAULT,
    SIDE_BY_SIDE,
    JointContender,
    JointRun,
    Member,
    default_of,
    median_us,
)
from autotune.core import Candidate, Failure
from autotune.errors import MeasurementError
from autotune.planning import JointDecision, Objective, decide_joint
from autotune.profiler import JointJob, JointResult, JointTimes, measure_together, run_outputs

SPAN_S = 0.6
LONGEST_SPAN_S = 4.0
REQUESTS = 8
"""Requests of the slowest model that a measurement should hold."""
LAUNCHES = 6
MIN_LAUNCHES = 4
FINALISTS = 2
CLEAR_LEAD = 1.05
"""The best joint plan at a first look is the only finalist where the second is this many times worse."""
ERRORS_DEADLINE_S = 300.0


def measure_baselines_together(joint: JointRun) -> None:
    """Each model alone at its best, all of them so side by side, and all under ONNX Runtime's default.

    Raises:
        MeasurementError: not even ONNX Runtime's default can serve all models.
    """
    own = tuple(replace(member.own.job, name=member.name) for member in joint.members)
    plain = tuple(replace(default_of(member).job, name=member.name) for member in joint.members)
    alone = [JointContender(name=f"alone:{job.name}", job=JointJob(name=job.name, members=(job,))) for job in own]
    baselines = [
        JointContender(name=name, job=JointJob(name=name, members=jobs))
        for name, jobs in ((SIDE_BY_SIDE, own), (ALL_DEFAULT, plain))
    ]
    screen_together(joint, [*alone, *baselines])
    each, latency = [], []
    for member, contender in zip(joint.members, alone, strict=True):
        found = contender.screened
        if isinstance(found, JointTimes):
            each.append(found.members[0].each_us)
            latency.append(median_us(found.members[0].latencies_us))
        else:  # it ran in its own search
            timing = member.run.timing(member.own)
            each.append(1e6 / timing.throughput_per_s if timing else member.own.median_us)
            latency.append(timing.p50_us if timing else member.own.median_us)
    joint.objective = Objective(
        fairness=joint.fairness,
        weights=tuple(member.participant.weight for member in joint.members),
        alone_us=tuple(each),
        alone_latency_us=tuple(latency),
    )
    failed = [c.screened for c in baselines if isinstance(c.screened, Failure)]
    if len(failed) == len(baselines):
        raise MeasurementError(f"these models cannot be served at the same time here: {failed[-1].message}")


def decide_together(joint: JointRun) -> JointDecision | None:
    """Fresh launches of the baselines and the best joint plans; None where there was no time for them."""
    finalists = _finalists(joint)
    chosen = [*(joint.contenders[name] for name in (SIDE_BY_SIDE, ALL_DEFAULT)), *finalists]
    chosen = [contender for contender in chosen if isinstance(contender.screened, JointTimes)]
    each_s = sum(contender.cost_s for contender in chosen)
    if len(finalists) > 1 and joint.budget.left_s < LAUNCHES * each_s:
        chosen.remove(finalists[-1])
        each_s -= finalists[-1].cost_s
    launches = min(LAUNCHES, int(joint.budget.left_s / each_s) // 2 * 2) if chosen else 0
    if launches >= MIN_LAUNCHES:
        _launch(joint, chosen, launches)
    elif not joint.unmeasured:
        joint.unmeasured = "no time was left for fresh launches: give a larger --budget"
    return conclude_together(joint)


def conclude_together(joint: JointRun) -> JointDecision | None:
    """The decision from the launches that were made; None when they are too few."""
    launched = [contender for contender in joint.contenders.values() if contender.launches]
    count = min((len(contender.launches) for contender in launched), default=0)
    if count < MIN_LAUNCHES:
        return None
    scores = {c.name: [joint.score(result) for result in c.launches[:count]] for c in launched}
    reference = SIDE_BY_SIDE if SIDE_BY_SIDE in scores and all(scores[SIDE_BY_SIDE]) else ALL_DEFAULT
    return decide_joint(scores, reference=reference) if reference in scores else None


def _launch(joint: JointRun, chosen: Sequence[JointContender], launches: int) -> None:
    done = 0

    def keep(at: int, result: JointResult) -> None:
        nonlocal done
        done += 1
        joint.measurements += 1
        chosen[at].launches.append(result)
        joint.observer.progress("decide together", done, launches * len(chosen))

    joint.observer.progress("decide together", 0, launches * len(chosen), text=", ".join(c.name for c in chosen))
    measure_together(
        [contender.job for contender in chosen],
        launches=launches,
        span_s=_span_s(joint),
        seed=joint.settings.seed,
        deadline_s=max(60.0, joint.budget.left_s),
        stop=lambda: joint.budget.left_s < 0,
        on_result=keep,
    )


def _finalists(joint: JointRun) -> list[JointContender]:
    """The joint plans with the best scores whose outputs are near enough to the reference."""
    found = [(joint.score(c.screened), c) for c in joint.contenders.values() if c.proposal is not None]
    ranked = sorted(((score, c) for score, c in found if score), key=lambda pair: -pair[0])
    chosen: list[JointContender] = []
    best = 0.0
    for score, contender in ranked:
        if len(chosen) == FINALISTS or (chosen and best > CLEAR_LEAD * score):
            break
        contender.feasible = all(
            member.run.feasible(measured_contender(member, candidate))
            for member, candidate in zip(joint.members, _members(contender), strict=True)
        )
        if contender.feasible:
            best = score if not chosen else best
            chosen.append(contender)
    return chosen


def _members(contender: JointContender) -> tuple[Candidate, ...]:
    return contender.candidate.members if contender.candidate is not None else ()


def measured_contender(member: Member, candidate: Candidate) -> Contender:
    """A model as a joint plan runs it, with its output errors; measured once."""
    run = member.run
    name = f"together:{candidate.hash}"
    if name in member.together:
        return member.together[name]
    found = Contender(name=name, job=run.bench.job(candidate, name), candidate=candidate)
    samples = run.task.search_samples
    outputs = run_outputs(found.job, str(samples.path), deadline_s=ERRORS_DEADLINE_S, worker=run.worker)
    if not isinstance(outputs, Failure):
        found.error = run.task.error(outputs, samples)
        measure_held_out(run, found)
    member.together[name] = found
    return found


def screen_together(joint: JointRun, contenders: Sequence[JointContender]) -> None:
    """Measures each once."""
    for contender in contenders:
        joint.observer.progress("together", len(joint.contenders), 0, text=contender.name)
        begin = time.monotonic()
        contender.screened = measure_together(
            [contender.job], launches=1, span_s=_span_s(joint), deadline_s=max(60.0, joint.budget.left_s)
        )[0][0]
        contender.cost_s = time.monotonic() - begin
        joint.measurements += 1
        joint.contenders[contender.name] = contender


def _span_s(joint: JointRun) -> float:
    """Seconds of a measurement: some requests of the slowest model, while all are served."""
    slowest_us = max((timing.p50_us for m in joint.members if (timing := m.run.timing(m.own))), default=0.0)
    return min(LONGEST_SPAN_S, max(SPAN_S, REQUESTS * len(joint.members) * slowest_us * 1e-6))


def reserve_s(joint: JointRun) -> float:
    """Seconds to keep for deciding launches."""
    known = [joint.contenders[name].cost_s for name in (SIDE_BY_SIDE, ALL_DEFAULT)]
    return MIN_LAUNCHES * (sum(known) + max(known))
