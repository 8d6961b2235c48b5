"""Which joint plans are measured once: what is predicted to be best, corrected by what was found."""

from __future__ import annotations

import math

from autotune.api.together_contention import contention_of
from autotune.api.together_measuring import reserve_s, screen_together
from autotune.api.together_options import options_of
from autotune.api.together_run import SIDE_BY_SIDE, JointContender, JointRun
from autotune.core import Failure, Sharing
from autotune.planning import JointProposal, JointSpace, shortlist
from autotune.profiler import JointJob

SHORTLIST = 40
MOST_MEASURED = 6
"""Joint plans that are measured once."""
NEAR = 0.9
"""Share of the best score that a prediction must reach to be worth a measurement: about what predictions are off."""


def look_at_candidates(joint: JointRun) -> None:
    """Predicts all combinations, measures the most promising once, as far as the budget allows.

    What was measured corrects the predictions of the same way to share; one that fails says nothing of others. It ends
    when none is left that comes near the best measured, or when each way was tried and none comes near each model's own
    best plan side by side.
    """
    if joint.objective is None:
        return
    contention = contention_of(joint)
    joint.co_runs = contention.predictor.records if contention is not None else 0
    space = JointSpace(
        options=tuple(options_of(member.run) for member in joint.members),
        cores=joint.place.device.cores,
        scenario=joint.settings.scenario,
        objective=joint.objective,
        slowdowns=contention,
    )
    proposals, joint.compared = shortlist(space, most=SHORTLIST, seed=joint.settings.seed)
    own = tuple(member.own.candidate for member in joint.members)
    left = [p for p in proposals if p.candidate.members != own or p.candidate.turns]  # that one is side by side
    corrections: dict[Sharing, float] = {}
    best = 0.0
    alongside = joint.score(joint.contenders[SIDE_BY_SIDE].screened) or 0.0
    for _ in range(MOST_MEASURED):
        expected = {p: p.score * corrections.get(p.candidate.sharing, math.inf) for p in left}
        chosen = max(left, key=lambda p: (expected[p], p.score), default=None)
        if chosen is None or expected[chosen] < NEAR * max(best, alongside):
            return
        contender = joint_contender(joint, chosen)
        if joint.budget.left_s < reserve_s(joint) + contender.cost_s:
            joint.unmeasured = "no time was left to measure joint plans: give a larger --budget"
            return
        screen_together(joint, [contender])
        left.remove(chosen)
        if isinstance(contender.screened, Failure):
            joint.warnings.append(_failed(joint, chosen, contender.screened))
            continue
        found = joint.score(contender.screened) or 0.0
        best = max(best, found)
        before = corrections.get(chosen.candidate.sharing, 0.0)
        corrections[chosen.candidate.sharing] = max(before, found / chosen.score)


def _failed(joint: JointRun, proposal: JointProposal, failure: Failure) -> str:
    candidate = proposal.candidate
    members = ", ".join(f"{member.name} on {own}" for member, own in zip(joint.members, candidate.members, strict=True))
    return f"a joint plan ({candidate.sharing}: {members}) failed: {failure.message}"


def joint_contender(joint: JointRun, proposal: JointProposal) -> JointContender:
    """A proposal as a job."""
    names = [member.name for member in joint.members]
    name = f"joint:{proposal.candidate.hash}"
    jobs = tuple(
        member.run.bench.job(candidate, member.name)
        for member, candidate in zip(joint.members, proposal.candidate.members, strict=True)
    )
    job = JointJob(
        name=name,
        members=jobs,
        turns=tuple(tuple(names[at] for at in group) for group in proposal.candidate.turns),
        weights=tuple((member.name, member.participant.weight) for member in joint.members),
    )
    cost_s = max((c.cost_s for c in joint.contenders.values()), default=0.0)
    return JointContender(name=name, job=job, proposal=proposal, cost_s=cost_s)
