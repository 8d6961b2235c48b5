"""A joint plan's folder: each model's plan, and what holds them together."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from autotune.api.delivery import build_plan, sentence, unwritten, versions_of
from autotune.api.run import STAGES
from autotune.api.together_measuring import measured_contender
from autotune.api.together_run import (
    ALL_DEFAULT,
    SIDE_BY_SIDE,
    JointContender,
    JointRun,
    candidate_of,
    default_of,
    median_us,
)
from autotune.api.verdict import text_of
from autotune.core import (
    JointMember,
    JointPlan,
    Measurement,
    Plan,
    Share,
    Sharing,
    Timing,
    Verdict,
    VerdictKind,
)
from autotune.errors import AutotuneError, MeasurementError, PlanError, StoreError
from autotune.planning import JointDecision, JointProposal, Proposal
from autotune.profiler import JointJob, JointTimes
from autotune.runtime import write_joint

WAYS = {
    Sharing.SPACE: "each on cores or a processor of its own",
    Sharing.TURNS: "in turns on all cores",
    Sharing.FREE: "at the same time, without pinning",
    Sharing.SIDE_BY_SIDE: "each model's own best plan side by side",
}


def deliver_together(joint: JointRun, decision: JointDecision | None) -> tuple[JointPlan, dict[str, Plan], Path]:
    """Writes the folder of the winner; nothing half-written stays there.

    A winner whose files do not work any more costs itself: each model's own best plan is delivered instead.

    Raises:
        StoreError: it cannot be written, not even into the home folder; the message says what was found.
        MeasurementError: not even models' own best plans work any more.
    """
    winner = _winner(joint, decision)
    for member in joint.members:  # other candidates make room for the plan
        shutil.rmtree(member.run.place.work / STAGES, ignore_errors=True)
    try:
        try:
            return _deliver(joint, winner, decision)
        except MeasurementError as error:
            if winner.candidate is None:
                raise
            won = f"the best joint plan ({WAYS[_sharing(winner)]}) won"
            joint.unmeasured = f"{won}, but {sentence(error)}".rstrip(".")
            joint.warnings.append(f"{joint.unmeasured}. Each model's own best plan is taken instead.")
            winner = _side_by_side(joint)
            return _deliver(joint, winner, None)
    except (StoreError, OSError) as error:
        raise unwritten(error, f"{WAYS[_sharing(winner)]}: {_lanes(winner)}") from error


def _deliver(
    joint: JointRun, winner: JointContender, decision: JointDecision | None
) -> tuple[JointPlan, dict[str, Plan], Path]:
    plans: dict[str, Plan] = {}
    folders: dict[str, Path] = {}
    for at, member in enumerate(joint.members):
        plans[member.name], folders[member.name] = _member_plan(joint, winner, at)
    over = dict(decision.over) if decision is not None else {}
    plan = JointPlan(
        scenario=joint.settings.scenario,
        fairness=joint.fairness,
        sharing=_sharing(winner),
        members=tuple(_member(joint, winner, at) for at in range(len(joint.members))),
        turns=winner.job.turns,
        device=joint.place.device,
        versions=versions_of(joint.members[0].run),
        over_side_by_side=over.get(SIDE_BY_SIDE),
        over_default=over.get(ALL_DEFAULT),
        reason=_reason(joint, winner, decision),
    )
    own = _own_plans(joint, plan, plans)
    folder = joint.settings.output or _default_folder(joint)
    try:
        write_joint(plan, folder, plans=folders, own=own)
    except (StoreError, PlanError) as error:
        if joint.settings.output is None:
            raise
        folder = _default_folder(joint)
        joint.warnings.append(f"{error}. The plan lies in {folder} instead.")
        write_joint(plan, folder, plans=folders, own=own)
    return plan, plans, folder


def _lanes(winner: JointContender) -> str:
    """`yolo on cpu/f32/t1/c0, bert_mini on cpu/f32/t1/c1`."""
    lanes = {job.name: dict.fromkeys(str(stage.lane) for stage in job.stages) for job in winner.job.members}
    return ", ".join(f"{name} on {' | '.join(own)}" for name, own in lanes.items())


def _winner(joint: JointRun, decision: JointDecision | None) -> JointContender:
    if decision is not None:
        return joint.contenders[decision.winner]
    for name in (SIDE_BY_SIDE, ALL_DEFAULT):
        known = joint.contenders.get(name)
        if known is not None and isinstance(known.screened, JointTimes):
            return known
    return _side_by_side(joint)


def _side_by_side(joint: JointRun) -> JointContender:
    """Own best plans; without a measurement where an interrupt came first."""
    if (known := joint.contenders.get(SIDE_BY_SIDE)) is not None:
        return known
    jobs = tuple(replace(member.own.job, name=member.name) for member in joint.members)
    return JointContender(name=SIDE_BY_SIDE, job=JointJob(name=SIDE_BY_SIDE, members=jobs))


def _sharing(winner: JointContender) -> Sharing:
    return winner.candidate.sharing if winner.candidate is not None else Sharing.SIDE_BY_SIDE


def _member_plan(joint: JointRun, winner: JointContender, at: int) -> tuple[Plan, Path]:
    member = joint.members[at]
    folder = joint.place.work / "joint" / member.name
    if winner.candidate is None or winner.proposal is None:
        if winner.name == ALL_DEFAULT:
            return build_plan(member.run, default_of(member), None, folder=folder)
        return build_plan(member.run, member.own, member.decision, folder=folder)
    contender = measured_contender(member, winner.candidate.members[at])
    contender.proposal = Proposal(
        candidate=candidate_of(contender, member),
        predicted_us=winner.proposal.each_us[at],
        predicted_error=contender.error.relative_rms if contender.error else 0.0,
        origin="joint",
    )
    results = [result.members[at].each_us for result in winner.launches if isinstance(result, JointTimes)]
    member.run.launches[contender.name] = [Measurement(samples_us=(each_us,)) for each_us in results]
    others = ", ".join(other.name for other in joint.members if other is not member)
    kind = VerdictKind.SINGLE_PROCESSOR if len(contender.lanes) == 1 else VerdictKind.PARTITION
    reason = f"chosen together with {others}: {WAYS[winner.candidate.sharing]}"
    verdict = Verdict(kind=kind, winner=str(contender.candidate), reason=reason)
    return build_plan(member.run, contender, None, verdict=verdict, folder=folder)


def _own_plans(joint: JointRun, plan: JointPlan, plans: Mapping[str, Plan]) -> dict[str, Path]:
    """Models' own best plans that the joint plan's files cannot run: `bench` measures them side by side.

    Where they cannot be written they are left out, with a warning: the joint plan is there.
    """
    found: dict[str, Path] = {}
    if plan.sharing is Sharing.SIDE_BY_SIDE:
        return found
    for member, described in zip(joint.members, plan.members, strict=True):
        if described.own_is_whole(plans[member.name].batch):
            continue
        folder = joint.place.work / "own" / member.name
        try:
            _, found[member.name] = build_plan(member.run, member.own, member.decision, folder=folder)
        except (AutotuneError, OSError) as error:
            joint.warnings.append(f"{member.name}'s own best plan was not kept for bench: {sentence(error)}")
    return found


def _member(joint: JointRun, winner: JointContender, at: int) -> JointMember:
    member = joint.members[at]
    alone = member.run.timing(member.own) or Timing(p50_us=0.0, p90_us=0.0, p99_us=0.0, throughput_per_s=0.0)
    if joint.objective is not None:
        latency_us = joint.objective.alone_latency_us[at]
        rate = 1e6 / joint.objective.alone_us[at]
        alone = Timing(p50_us=latency_us, p90_us=latency_us, p99_us=latency_us, throughput_per_s=rate)
    side = joint.contenders.get(SIDE_BY_SIDE)
    return JointMember(
        name=member.name,
        weight=member.participant.weight,
        own=candidate_of(member.own, member),
        alone=alone,
        predicted=_predicted(joint, winner.proposal, at),
        measured=share_of(joint, winner, at),
        side_by_side=share_of(joint, side, at) if side is not None else None,
    )


def _predicted(joint: JointRun, proposal: JointProposal | None, at: int) -> Share | None:
    if proposal is None:
        return None
    each_us, latency_us = proposal.each_us[at], proposal.latency_us[at]
    timing = Timing(p50_us=latency_us, p90_us=latency_us, p99_us=latency_us, throughput_per_s=1e6 / each_us)
    return _share(joint, timing, at)


def share_of(joint: JointRun, contender: JointContender, at: int) -> Share | None:
    """What a model got: from the deciding launches where there were some, else from the first look."""
    launches = contender.launches or ([contender.screened] if contender.screened is not None else [])
    results = [result for result in launches if isinstance(result, JointTimes)]
    if not results:
        return None
    latencies = Measurement(samples_us=tuple(us for result in results for us in result.members[at].latencies_us))
    rates = sorted(1e6 / result.members[at].each_us for result in results)
    timing = Timing(
        p50_us=sum(median_us(result.members[at].latencies_us) for result in results) / len(results),
        p90_us=latencies.percentile_us(90),
        p99_us=latencies.percentile_us(99),
        throughput_per_s=rates[len(rates) // 2],
        load_s=results[0].load_s,
    )
    return _share(joint, timing, at)


def _share(joint: JointRun, timing: Timing, at: int) -> Share | None:
    if joint.objective is None:
        return None
    return Share(
        timing=timing,
        throughput=timing.throughput_per_s * joint.objective.alone_us[at] / 1e6,
        latency=timing.p50_us / joint.objective.alone_latency_us[at],
    )


def _reason(joint: JointRun, winner: JointContender, decision: JointDecision | None) -> str:
    if winner.candidate is not None and decision is not None:
        over = decision.over.get(SIDE_BY_SIDE)
        return f"{text_of(over)} over each model's own best plan side by side" if over else WAYS[_sharing(winner)]
    if joint.interrupted:
        return "interrupted before a joint plan was decided upon"
    if decision is not None and decision.gain is not None:
        return f"the best joint plan gains {text_of(decision.gain)}, not distinguishable"
    return joint.unmeasured or "no joint plan could be measured"


def _default_folder(joint: JointRun) -> Path:
    """`<home>/plans/<models>-<scenario>-<time>`."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    names = "+".join(member.name for member in joint.members)
    return joint.place.home / "plans" / f"{names}-{joint.settings.scenario.value}-{stamp}"
