"""The state of a joint search while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from autotune.api.clock import Budget
from autotune.api.deciding import screened_winner
from autotune.api.run import DEFAULT, STAGES, Contender, Run
from autotune.api.settings import DEFAULT_BUDGET_S, SearchSettings
from autotune.api.task import prepare_task
from autotune.api.together_settings import Participant
from autotune.api.verdict import winner_of
from autotune.api.workplace import Guarded, Workplace
from autotune.core import Candidate, Fairness, Observer
from autotune.datasets import Store
from autotune.errors import MeasurementError
from autotune.planning import Bench, Decision, JointCandidate, JointProposal, Objective
from autotune.processors import SessionSpec
from autotune.profiler import JointJob, JointResult, JointTimes, Worker

SIDE_BY_SIDE = "side_by_side"
ALL_DEFAULT = "default"


@dataclass(slots=True, kw_only=True)
class Member:
    """One model of a joint search.

    Args:
        participant: what was asked for.
        run: its own search.
        decision: of that search, None where no launches decided.
        together: how joint plans run it, by candidate, with output errors.
    """

    participant: Participant
    run: Run
    decision: Decision | None = None
    together: dict[str, Contender] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.participant.name

    @property
    def own(self) -> Contender:
        """Its own best plan, as if it were alone; without launches it keeps the tolerance on held-out samples too."""
        return winner_of(self.run, self.decision) if self.decision is not None else screened_winner(self.run)


@dataclass(slots=True, kw_only=True)
class JointContender:
    """One way to serve all models, and what was found out about it.

    Args:
        name: `side_by_side`, `default`, `alone:<model>` or `joint:<hash>`.
        job: how it is run.
        proposal: the frozen prediction; None for a baseline.
        screened: its first measurement, None until there is one.
        launches: of the decision.
        feasible: whether all outputs are near enough to the reference.
        cost_s: seconds that one measurement of it takes.
    """

    name: str
    job: JointJob
    proposal: JointProposal | None = None
    screened: JointResult | None = None
    launches: list[JointResult] = field(default_factory=list)
    feasible: bool = True
    cost_s: float = 0.0

    @property
    def candidate(self) -> JointCandidate | None:
        """What is proposed."""
        return self.proposal.candidate if self.proposal is not None else None


@dataclass(slots=True, kw_only=True)
class JointRun:
    """A joint search while it goes on."""

    settings: SearchSettings
    fairness: Fairness
    place: Workplace
    budget: Budget
    observer: Guarded
    members: list[Member]
    objective: Objective | None = None
    contenders: dict[str, JointContender] = field(default_factory=dict)
    compared: int = 0
    measurements: int = 0
    co_runs: int = 0
    """Records of this device that slowdowns of models beside each other are predicted from."""
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False
    unmeasured: str = ""
    """Why no joint plan was decided upon, where none was."""

    def score(self, result: JointResult | None) -> float | None:
        """More is better; None where nothing was measured."""
        if self.objective is None or not isinstance(result, JointTimes):
            return None
        each = [member.each_us for member in result.members]
        return self.objective.score(each, [median_us(member.latencies_us) for member in result.members])


def median_us(latencies_us: tuple[float, ...]) -> float:
    """Of a model's requests in one launch."""
    ordered = sorted(latencies_us)
    return ordered[len(ordered) // 2]


class Named:
    """An observer of one model's own search: names what it hears after the model.

    Args:
        inner: hears of all models.
        model: the name.
    """

    def __init__(self, inner: Observer, model: str) -> None:
        self._inner = inner
        self._model = model

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
        """Passed on, each phase once per model."""
        self._inner.progress(f"{self._model}: {phase}", done, total, text=text)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Passed on."""
        if name == "metrics":
            step = {"step": fields.get("step", 0)}
            fields = step | {self._model: {key: value for key, value in fields.items() if key != "step"}}
        elif "name" in fields:
            fields = {**fields, "name": f"{self._model} {fields['name']}"}
        self._inner.event(name, fields)


def open_member(
    stack: ExitStack,
    place: Workplace,
    participant: Participant,
    settings: SearchSettings,
    observer: Observer,
    *,
    worker: Worker,
    hold: Callable[[], None],
    budget_s: float | None,
    user_options: SessionSpec | None,
) -> Member:
    """One model with its inputs and reference, ready for its own search; `hold` keeps the device, see `prepare_task`.

    Raises:
        AutotuneError: what is wrong with the model or its inputs; the message begins with the model's name.
    """
    own = participant.settings(settings, budget_s)
    here = replace(place, work=place.work / "models" / participant.name)
    here.work.mkdir(parents=True)
    budget = Budget(budget_s or DEFAULT_BUDGET_S)
    task = prepare_task(participant.model, own, here.work, worker, budget, hold=hold)
    run = Run(
        settings=own,
        place=here,
        task=task,
        bench=Bench(task.graph, work=here.work / STAGES, feeds=task.feeds, scenario=own.scenario),
        store=stack.enter_context(Store(place.store_url)),
        budget=budget,
        observer=Guarded(Named(observer, participant.name)),
        worker=worker,
        warnings=list(task.warnings),
        user_options=user_options,
    )
    return Member(participant=participant, run=run)


def default_of(member: Member) -> Contender:
    """A model under ONNX Runtime's default.

    Raises:
        MeasurementError: it was not measured.
    """
    found = member.run.contenders.get(DEFAULT)
    if found is None:
        raise MeasurementError(f"{member.name} was not measured at all")
    return found


def candidate_of(contender: Contender, member: Member) -> Candidate:
    """What a contender runs.

    Raises:
        MeasurementError: ONNX Runtime decides that, or the user.
    """
    if contender.candidate is None:
        raise MeasurementError(f"{contender.name} of {member.name} cannot be stored as a plan")
    return contender.candidate
