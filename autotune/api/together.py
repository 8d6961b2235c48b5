"""Several models tuned together: from their files to one verified joint plan."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from autotune.api.announcing import announce_baselines
from autotune.api.baselines import first_look, read_user_options
from autotune.api.clock import Budget
from autotune.api.delivery import sentence
from autotune.api.interrupts import Interrupts
from autotune.api.opening import open_search
from autotune.api.searching import find_best
from autotune.api.settings import DEFAULT_BUDGET_S, SearchSettings
from autotune.api.together_delivery import deliver_together
from autotune.api.together_looking import look_at_candidates
from autotune.api.together_measuring import conclude_together, decide_together, measure_baselines_together
from autotune.api.together_result import JointSearchResult, result_together
from autotune.api.together_run import JointRun, open_member
from autotune.api.together_settings import Participant, check_participants
from autotune.api.workplace import hold_device
from autotune.core import Fairness, JointPlan, Observer
from autotune.errors import StoreError
from autotune.planning import JointDecision
from autotune.profiler import Worker, noise_check

OWN_SHARE = 0.5
"""Share of a given budget for all models' own searches; the rest is for joint plans."""
JOINT_S = 60.0
"""Seconds for joint plans where no budget is given; each model's own search takes what it usually does."""


def search_together(
    models: Sequence[Participant | str],
    settings: SearchSettings | None = None,
    *,
    fairness: Fairness = Fairness.SUM,
    observer: Observer | None = None,
) -> JointSearchResult:
    """Finds a joint plan for several models that are served at the same time on this device.

    Each model's own search comes first. What they found is combined: which lanes and cores each model gets, whether
    they work at the same time or take turns. The most promising combinations are measured; one wins only if it is
    surely better than every model's own best plan side by side.

    Args:
        models: at least two, with weights and inputs of their own where they need any.
        settings: what is asked for; None takes the defaults. Shapes, dims and inputs belong to the models.
        fairness: what a joint plan is judged by.
        observer: is told of the progress.

    Raises:
        AutotuneError: what is wrong with a model, its inputs, the settings or the device; see `autotune.errors`.
        KeyboardInterrupt: interrupted before every model was measured once; later, the best so far is returned.
    """
    settings = settings or SearchSettings()
    participants = [Participant(model=model) if isinstance(model, str) else model for model in models]
    check_participants(participants, settings)
    budget = Budget(settings.budget_s or len(participants) * DEFAULT_BUDGET_S + JOINT_S)
    with open_search(settings, budget, observer) as opened, ExitStack() as stack:
        joint = JointRun(
            settings=settings,
            fairness=fairness,
            place=opened.place,
            budget=budget,
            observer=opened.observer,
            members=[],
        )
        _prepare(stack, joint, participants)
        decision = _work(joint, opened.interrupts)
        joint.observer.progress("write", 0, 0, text="the joint plan")
        with budget.phase("write"):
            plan, plans, folder = deliver_together(joint, decision)
        if settings.budget_s is not None and budget.overdraft:
            joint.warnings.append(budget.overdraft)
        result = result_together(joint, plan, plans, folder)
        _finish(joint, plan, result)
        return result.tracked(opened.run_id())


def _prepare(stack: ExitStack, joint: JointRun, participants: Sequence[Participant]) -> None:
    settings, place, observers = joint.settings, joint.place, joint.observer
    user_options = read_user_options(settings.baseline) if settings.baseline is not None else None
    worker = stack.enter_context(Worker())
    held = False

    def hold() -> None:
        nonlocal held
        if not held:
            with joint.budget.paused():
                stack.enter_context(hold_device(place, observers, wait_s=settings.wait_s))
            held = True

    for participant in participants:
        observers.progress("load", len(joint.members), len(participants), text=participant.model)
        member = open_member(
            stack,
            place,
            participant,
            settings,
            observers,
            worker=worker,
            hold=hold,
            budget_s=OWN_SHARE * settings.budget_s / len(participants) if settings.budget_s else None,
            user_options=user_options,
        )
        joint.members.append(member)
    joint.warnings += noise_check(seconds=min(1.0, 0.02 * joint.budget.total_s)).warnings
    joint.warnings += place.discovery.notes
    observers.event(
        "search_started",
        {
            "model": "+".join(member.name for member in joint.members),
            "sha256": " ".join(member.run.task.info.sha256 for member in joint.members),
            "scenario": str(settings.scenario),
            "fairness": str(joint.fairness),
            "weights": ", ".join(f"{m.name}={m.participant.weight:g}" for m in joint.members),
            "tolerance": settings.tolerance,
            "budget_s": joint.budget.total_s,
            "device": place.device.name,
            "device_id": place.device.id,
            "runtime": place.discovery.runtime,
            "seed": settings.seed,
            "processors": ", ".join(processor.name for processor in place.processors),
        },
    )


def _work(joint: JointRun, interrupts: Interrupts) -> JointDecision | None:
    """Every model once, its own search, joint plans; an interrupt, or a full disk, ends it with what is there."""
    for member in joint.members:
        first_look(member.run)
    try:
        for member in joint.members:
            member.run.budget = Budget(member.run.budget.total_s)
            member.decision = find_best(member.run, interrupts)
            if interrupts.pressed:
                joint.interrupted = True
                return None
            interrupts.release()
        if joint.settings.budget_s is None:
            joint.budget.total_s = joint.budget.elapsed_s + JOINT_S
        with joint.budget.phase("verify"):
            measure_baselines_together(joint)
            look_at_candidates(joint)
            decision = decide_together(joint)
            interrupts.hold()
            return decision
    except KeyboardInterrupt:
        joint.interrupted = True
        joint.warnings.append("interrupted: this is the best joint plan verified until then.")
    except (StoreError, OSError) as error:
        interrupts.hold()
        joint.unmeasured = "broken off before a joint plan was decided upon"
        joint.warnings.append(f"broken off: {sentence(error)} This is the best joint plan verified until then.")
    return conclude_together(joint)


def _finish(joint: JointRun, plan: JointPlan, result: JointSearchResult) -> None:
    observer = joint.observer
    for member in joint.members:
        announce_baselines(member.run)
    for name, figures in result.metrics().items():
        observer.event("metrics", {"step": 0, name: figures})
    observer.event(
        "plan",
        {
            "folder": str(result.folder),
            "verdict": str(plan.sharing),
            "summary": f"{plan.sharing}: {plan.reason}",
            "speedup_over_default": plan.over_default.ratio if plan.over_default else None,
            "speedup_over_side_by_side": plan.over_side_by_side.ratio if plan.over_side_by_side else None,
        },
    )
    observer.event("search_finished", {"seconds": dict(joint.budget.spent_s), "interrupted": joint.interrupted})
