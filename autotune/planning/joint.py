"""Joint plans of several models: what can be combined, and how good it is predicted to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from autotune.core import Candidate, Fairness, Lane, Scenario, Sharing
from autotune.core.codec import encode

Groups = tuple[tuple[int, ...], ...]
Slowdowns = Callable[[Sequence[Candidate]], Sequence[float]]
"""Members that run at the same time on cores or processors of their own -> how many times longer each takes then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What one number says how good a joint plan is.

    Args:
        fairness: which.
        weights: [M] one per model.
        alone_us: [M] microseconds per sample that each takes alone at its best.
        alone_latency_us: [M] median latency of each alone at its best.
    """

    fairness: Fairness
    weights: tuple[float, ...]
    alone_us: tuple[float, ...]
    alone_latency_us: tuple[float, ...]

    def throughputs(self, each_us: Sequence[float]) -> tuple[float, ...]:
        """Normalised throughputs of microseconds per sample; 1 is as if alone."""
        return tuple(alone / us for alone, us in zip(self.alone_us, each_us, strict=True))

    def latencies(self, latency_us: Sequence[float]) -> tuple[float, ...]:
        """Normalised latencies; 1 is as if alone."""
        return tuple(us / alone for alone, us in zip(self.alone_latency_us, latency_us, strict=True))

    def score(self, each_us: Sequence[float], latency_us: Sequence[float]) -> float:
        """More is better: the weighted sum of throughputs, or one over the worst weighted latency."""
        if self.fairness is Fairness.SUM:
            return sum(w * x for w, x in zip(self.weights, self.throughputs(each_us), strict=True))
        return 1.0 / max(w * x for w, x in zip(self.weights, self.latencies(latency_us), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to run a model, measured alone.

    Args:
        candidate: not pinned.
        each_us: microseconds per sample.
    """

    candidate: Candidate
    each_us: float

    @property
    def cores(self) -> int:
        """CPU threads that it keeps busy; 0 where it runs on other devices only."""
        return max(_threads(stage.lane, self.candidate.callers) for stage in self.candidate.stages)

    @property
    def devices(self) -> frozenset[str]:
        """Processors that it uses besides the CPU."""
        return frozenset(stage.lane.processor for stage in self.candidate.stages if not _threads(stage.lane, 1))


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
    """

    candidate: JointCandidate
    each_us: tuple[float, ...]
    latency_us: tuple[float, ...]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JointSpace:
    """What can be combined.

    Args:
        options: [M] of each model, measured alone.
        cores: that the process may use.
        scenario: SingleStream keeps one request of each model under way.
        objective: what is best.
        slowdowns: of members that run at the same time; None: those with cores of their own do not disturb each other.
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
        first = 0
        for group, size in zip(groups, sizes, strict=True):
            own = self.cores[first : first + size] if size < len(self.cores) else ()
            first += size
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
        each = [option.each_us for option in chosen]
        if candidate.sharing is Sharing.FREE:
            each = [us * self._crowd(option, chosen) for us, option in zip(each, chosen, strict=True)]
        if self.slowdowns is not None:
            each = [us * by for us, by in zip(each, self.slowdowns(candidate.members), strict=True)]
        for group in candidate.turns:
            for at, us in zip(group, self._in_turns(group, candidate, each), strict=True):
                each[at] = us
        latency = [us * m.callers * m.batch for us, m in zip(each, candidate.members, strict=True)]
        score = self.objective.score(each, latency)
        return JointProposal(candidate=candidate, each_us=tuple(each), latency_us=tuple(latency), score=score)

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
        if cores and _threads(lane, 1):
            streams = max(setting.streams, candidate.callers if len(cores) % candidate.callers == 0 else 1)
            threads = setting.threads
            if lane.processor != "cpu" and streams > setting.streams:  # OpenVINO is told the threads of all streams
                threads = min(len(cores), threads * streams)
            lane = replace(lane, concurrency=replace(setting, threads=threads, cores=cores, streams=streams))
        stages.append(replace(stage, lane=lane))
    return replace(candidate, stages=tuple(stages))


def _threads(lane: Lane, callers: int) -> int:
    """CPU threads that a lane keeps busy; OpenVINO's streams share the threads that it is told."""
    if not lane.on_cpu:
        return 0
    threads = max(1, lane.concurrency.threads)
    return threads if lane.concurrency.streams > 1 and lane.processor != "cpu" else threads * callers


def _own_devices(groups: Groups, chosen: Sequence[Option]) -> bool:
    """Whether no two groups use the same device besides the CPU."""
    used = [frozenset().union(*(chosen[at].devices for at in group)) for group in groups]
    return sum(map(len, used)) == len(frozenset().union(*used))
