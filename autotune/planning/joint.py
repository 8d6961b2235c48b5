"""Joint plans of several models: what can be combined, and how good it is predicted to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.core import Candidate, Scenario, Sharing, Slowing
from autotune.core.codec import encode
from autotune.planning.joint_parts import Objective, Option, Slowdowns
from autotune.processors import share_out

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointCandidate:
    """One way to serve all models.

    Args:
        sharing: how they share the device.
        members: [M] lanes, cores and callers of each.
        turns: groups of models of which only one runs at a time.
    """

    sharing: Sharing
    members: tuple[Candidate, ...]
    turns: Groups = ()

    @property
    def hash(self) -> str:
        """12 hexadecimal digits, equal for equal candidates."""
        return hashlib.sha256(json.dumps(encode(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointProposal:
    """A joint candidate with its prediction frozen.

    Args:
        candidate: what to run.
        each_us: [M] predicted microseconds per sample.
        latency_us: [M] predicted latency.
        score: of the objective; more is better.
        slowing: what was taken to slow the models down.
    """

    candidate: JointCandidate
    each_us: tuple[float, ...]
    latency_us: tuple[float, ...]
    score: float
    slowing: Slowing


@dataclass(frozen=True, slots=True, kw_only=True)
class JointSpace:
    """What can be combined.

    Args:
        options: [M] of each model, measured alone.
        cores: that the process may use.
        scenario: SingleStream keeps one request of each model under way.
        objective: what is best.
        slowdowns: of models that work at the same time; where they are not known, those with cores of their own do not
            disturb each other.
    """

    options: tuple[tuple[Option, ...], ...]
    cores: tuple[int, ...]
    scenario: Scenario
    objective: Objective
    slowdowns: Slowdowns | None = None

    def arranged(self, groups: Groups, chosen: Sequence[Option]) -> JointProposal | None:
        """The joint plan in which groups of models get cores of their own and take turns inside; None: impossible."""
        sizes = [max(chosen[at].cores for at in group) for group in groups]
        if sum(sizes) > len(self.cores) or not _own_devices(groups, chosen):
            return None
        members = [option.candidate for option in chosen]
        for group, cores in zip(groups, share_out(sizes, self.cores), strict=True):
            own = cores if len(cores) < len(self.cores) else ()
            for at in group:
                if len(group) > 1:
                    if chosen[at].candidate.callers > 1:
                        return None
                    members[at] = quiet(members[at])
                members[at] = _pinned(members[at], own)
        turns = tuple(group for group in groups if len(group) > 1)
        callers = self._callers_in_turns
        for at in (at for group in turns for at in group):
            members[at] = replace(members[at], callers=callers)
        sharing = Sharing.SPACE if len(groups) > 1 else Sharing.TURNS
        return self._proposal(JointCandidate(sharing=sharing, members=tuple(members), turns=turns), chosen)

    def free(self, chosen: Sequence[Option]) -> JointProposal:
        """The joint plan in which nothing is pinned and nobody waits; threads do not spin."""
        members = tuple(quiet(option.candidate) for option in chosen)
        return self._proposal(JointCandidate(sharing=Sharing.FREE, members=members), chosen)

    @property
    def _callers_in_turns(self) -> int:
        """Weights count only where several requests of a model wait."""
        return 2 if self.scenario is Scenario.OFFLINE else 1

    def _proposal(self, candidate: JointCandidate, chosen: Sequence[Option]) -> JointProposal:
        by, slowing = self._slowed(candidate, chosen)
        if candidate.sharing is Sharing.FREE:  # what shares a core waits for it; what does not disturbs by other means
            by = [max(own, self._crowd(option, chosen)) for own, option in zip(by, chosen, strict=True)]
        each = [option.each_us * own for option, own in zip(chosen, by, strict=True)]
        for group in candidate.turns:
            for at, us in zip(group, self._in_turns(group, candidate, each), strict=True):
                each[at] = us
        latency = [us * m.callers * m.batch for us, m in zip(each, candidate.members, strict=True)]
        score = self.objective.score(each, latency)
        return JointProposal(
            candidate=candidate, each_us=tuple(each), latency_us=tuple(latency), score=score, slowing=slowing
        )

    def _slowed(self, candidate: JointCandidate, chosen: Sequence[Option]) -> tuple[list[float], Slowing]:
        """[M] how many times longer each takes beside those that work at the same time, and what that comes from.

        Slowdowns of several neighbours multiply, as in the simulation. Of a group in turns one is busy at a time, each
        for its share.
        """
        alone = [(at,) for at in range(len(chosen)) if not any(at in group for group in candidate.turns)]
        groups = [*candidate.turns, *alone]
        by = [1.0] * len(chosen)
        known, asked = 0, 0
        for victims in groups:
            for besides in (group for group in groups if group is not victims):
                shares = self._time_shares(besides, chosen)
                for at in victims:
                    mean = 0.0
                    for other, share in zip(besides, shares, strict=True):
                        found = self.slowdowns(at, chosen[at], other, chosen[other]) if self.slowdowns else None
                        known, asked = known + (found is not None), asked + 1
                        mean += share * (found or 1.0)
                    by[at] *= mean
        if not asked:
            return by, Slowing.NOTHING
        return by, Slowing.CO_RUNS if known else Slowing.CORES

    def _time_shares(self, group: Sequence[int], chosen: Sequence[Option]) -> list[float]:
        """How much of the time each model of a group in turns is the one that runs."""
        if self._callers_in_turns > 1:
            busy = [self.objective.weights[at] for at in group]
        else:
            busy = [chosen[at].each_us * chosen[at].candidate.batch for at in group]
        return [own / sum(busy) for own in busy]

    def _crowd(self, option: Option, chosen: Sequence[Option]) -> float:
        """How many times longer it takes where cores and devices are shared fairly and nothing else is lost."""
        busy = sum(other.cores for other in chosen) / len(self.cores) if option.cores else 1.0
        rivals = [sum(device in other.devices for other in chosen) for device in option.devices]
        return max(1.0, busy, *rivals)

    def _in_turns(self, group: Sequence[int], candidate: JointCandidate, each: Sequence[float]) -> list[float]:
        """Microseconds per sample: by weight where several requests wait, else one request of each after the other."""
        batch = [candidate.members[at].batch for at in group]
        if self._callers_in_turns > 1:
            weights = [self.objective.weights[at] for at in group]
            return [each[at] * sum(weights) / weight for at, weight in zip(group, weights, strict=True)]
        cycle = sum(each[at] * size for at, size in zip(group, batch, strict=True))
        return [cycle / size for size in batch]


def quiet(candidate: Candidate) -> Candidate:
    """The candidate with CPU threads that do not spin: idle ones would take the cores from the other models."""
    stages = []
    for stage in candidate.stages:
        setting = stage.lane.concurrency
        if stage.lane.processor == "cpu" and setting.threads != 1:
            stage = replace(stage, lane=replace(stage.lane, concurrency=replace(setting, spinning=False)))
        stages.append(stage)
    return replace(candidate, stages=tuple(stages))


def _pinned(candidate: Candidate, cores: tuple[int, ...]) -> Candidate:
    """The candidate on these cores; callers of a CPU lane get streams with cores of their own."""
    stages = []
    for stage in candidate.stages:
        lane, setting = stage.lane, stage.lane.concurrency
        if cores and lane.on_cpu:
            streams = max(setting.streams, candidate.callers if len(cores) % candidate.callers == 0 else 1)
            threads = setting.threads
            if lane.processor != "cpu" and streams > setting.streams:  # OpenVINO is told the threads of all streams
                threads = min(len(cores), threads * streams)
            lane = replace(lane, concurrency=replace(setting, threads=threads, cores=cores, streams=streams))
        stages.append(replace(stage, lane=lane))
    return replace(candidate, stages=tuple(stages))


def _own_devices(groups: Groups, chosen: Sequence[Option]) -> bool:
    """Whether no two groups use the same device besides the CPU."""
    used = [frozenset().union(*(chosen[at].devices for at in group)) for group in groups]
    return sum(map(len, used)) == len(frozenset().union(*used))
