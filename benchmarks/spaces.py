"""Spaces of candidates small enough to be measured completely, and how near to their best a search's plan comes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from common import OpenModel

from autotune.core import Candidate, Concurrency, Failure, Lane, Measurement, Ratio, SplitChoice, StageChoice
from autotune.graph import Graph, SplitSite, find_sites
from autotune.planning import KernelNeeds, LaneTeam, kernel_needs, segment_ranges, speedup
from autotune.planning.costs import LaneCost
from autotune.planning.divided import divided_candidate
from autotune.planning.parallel import stages_of
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler import Job, decide, run_outputs, screen

BATCH = 4
"""Candidates that are screened beside the same reference."""
LOOKED_AT_TWICE = 12
LAUNCHES = 8
SHARES = (0.375, 0.5, 0.625)
LEAST_SITES = 4
FREE = LaneCost(call_us=0.0, per_byte_in_us=0.0, per_byte_out_us=0.0)


def all_core_lanes() -> list[Lane]:
    """One lane per processor and precision, with every core and, as in a partition, without spinning pools."""
    cores = this_device().cores
    lanes = [lane for processor in discover().processors for lane in lanes_of(processor, cores=cores)]
    wanted = [
        lane
        for lane in lanes
        if lane.concurrency.threads == len(cores) and (lane.processor != "cpu" or lane.concurrency.spinning is False)
    ]
    return wanted or lanes


def whole_models(graph: Graph, *, callers: Sequence[int] = (1,)) -> Iterator[Candidate]:
    """Every setting of every processor alone; with several callers also as many streams."""
    count = len(graph.kernels)
    for processor in discover().processors:
        for lane, calls in itertools.product(lanes_of(processor, cores=this_device().cores), callers):
            own = [lane]
            if calls > 1 and lane.concurrency.threads and lane.processor != "cpu":
                own.append(replace(lane, concurrency=replace(lane.concurrency, streams=calls)))
            for setting in own:
                yield Candidate(stages=(StageChoice(start=0, stop=count, lane=setting),), callers=calls)


def chains(graph: Graph, lanes: Sequence[Lane], positions: int) -> Iterator[Candidate]:
    """Every assignment of lanes to the segments between about `positions` cuts."""
    ranges = _ranges(graph, positions)
    for choice in itertools.product(lanes, repeat=len(ranges)):
        stages: list[StageChoice] = []
        for (start, stop), lane in zip(ranges, choice, strict=True):
            first = stages.pop().start if stages and stages[-1].lane == lane else start
            stages.append(StageChoice(start=first, stop=stop, lane=lane))
        yield Candidate(stages=tuple(stages))


def teams(graph: Graph) -> list[LaneTeam]:
    """Two lanes, each on one half of the cores: every processor and precision beside every other one and itself."""
    cores = this_device().cores
    if len(cores) < 2:
        return []
    halves = cores[: len(cores) // 2], cores[len(cores) // 2 :]
    kinds = dict.fromkeys(lane.kind for lane in all_core_lanes() if lane.on_cpu)
    needs = kernel_needs(graph)
    found = []
    for pair in itertools.product(kinds, repeat=2):
        lanes = tuple(
            Lane(
                processor=processor,
                precision=precision,
                concurrency=Concurrency(
                    threads=len(half),
                    cores=half,
                    spinning=False if processor == "cpu" and len(half) > 1 else None,
                ),
            )
            for (processor, precision), half in zip(pair, halves, strict=True)
        )
        flat = np.ones((len(graph.kernels), 2))
        found.append(LaneTeam(lanes=lanes, kernel_us=flat, costs=(FREE, FREE), needs=needs))
    return found


def pipelines(graph: Graph, team: LaneTeam, positions: int) -> Iterator[Candidate]:
    """One lane before a cut, the other behind it."""
    count = len(graph.kernels)
    for _, cut in _ranges(graph, positions)[:-1]:
        parts = (0, cut, team.lanes[0]), (cut, count, team.lanes[1])
        yield Candidate(stages=tuple(StageChoice(start=a, stop=b, lane=lane) for a, b, lane in parts))


def joins(needs: KernelNeeds) -> list[tuple[tuple[int, ...], ...]]:
    """For every kernel that joins branches: the kernels that only one of its inputs needs, at least two such sets."""
    above: list[set[int]] = []
    found = []
    for kernel, before in enumerate(needs.before):
        above.append({kernel}.union(*(above[k] for k in before)))
        own = [above[k].difference(*(above[other] for other in before if other != k)) for k in before]
        branches = tuple(tuple(sorted(branch)) for branch in own if branch)
        if len(branches) > 1:
            found.append(branches)
    return found


def branches(team: LaneTeam, groups: int) -> Iterator[Candidate]:
    """The first lane runs the model; of each group of joins in a row the second takes no branch, one, or the other."""
    found = joins(team.needs)
    count = len(team.needs.before)
    if not found:
        return
    parts = [list(part) for part in np.array_split(np.arange(len(found)), min(groups, len(found)))]
    for choice in itertools.product((None, 0, 1), repeat=len(parts)):
        processor = [0] * count
        for part, branch in zip(parts, choice, strict=True):
            for at in () if branch is None else part:
                for kernel in found[at][branch]:
                    processor[kernel] = 1
        if any(processor):
            yield Candidate(stages=tuple(stages_of(team, processor, range(count), eager=False)))


def divided(team: LaneTeam, sites: Sequence[SplitSite]) -> Iterator[Candidate]:
    """Each of the chains divided between both lanes, and all of them, at a few shares."""
    for chosen, share in itertools.product([*([site] for site in sites), sites], SHARES):
        splits = [SplitChoice(kernels=site.kernels, axis=site.axis, shares=(share, 1 - share)) for site in chosen]
        yield divided_candidate(team, dict.fromkeys(splits, team.lanes))


def heaviest_sites(graph: Graph, count: int = LEAST_SITES) -> list[SplitSite]:
    """Chains of up to two kernels with most to compute, none of which overlap."""

    def flops(site: SplitSite) -> float:
        return sum(graph.kernels[kernel].kernel.flops for kernel in site.kernels)

    taken: set[int] = set()
    found: list[SplitSite] = []
    for site in sorted(find_sites(graph, longest=2), key=flops, reverse=True):
        if len(found) < count and not taken & set(site.kernels):
            taken |= set(site.kernels)
            found.append(site)
    return found


def _ranges(graph: Graph, positions: int) -> list[tuple[int, int]]:
    weight = np.array([use.kernel.flops + 1.0 for use in graph.kernels])
    return list(segment_ranges(graph.cuts, weight, count=positions))


def pinned(candidate: Candidate) -> bool:
    """Whether a lane of it is held to certain cores."""
    return any(stage.lane.concurrency.cores for stage in candidate.stages)


def below_float32(candidate: Candidate) -> set[int]:
    """Kernels that it computes in less than float32."""
    return {k for stage in candidate.stages if not stage.lane.precision.is_reference for k in stage.positions}


@dataclass(slots=True, kw_only=True)
class Space:
    """Candidates that were all measured.

    Args:
        model: what they run.
        needs: of its kernels.
        times_us: screened time of each that ran, fastest first.
        size: how many there are.
        seconds: what measuring them took.
    """

    model: OpenModel
    needs: KernelNeeds
    times_us: dict[Candidate, float]
    size: int
    seconds: float
    _errors: dict[Candidate, float] = field(default_factory=dict)

    def error(self, candidate: Candidate) -> float:
        """Output error on both halves of the samples, measured when it is first asked for; 1 where it failed."""
        if candidate not in self._errors:
            job, found = self.model.bench.job(candidate, candidate.hash), []
            for samples in (self.model.task.search_samples, self.model.task.held_out):
                outputs = run_outputs(job, str(samples.path), deadline_s=120.0, worker=self.model.worker)
                if isinstance(outputs, Failure):
                    found.append(1.0)
                else:
                    found.append(self.model.task.error(outputs, samples).relative_rms)
            self._errors[candidate] = max(found)
        return self._errors[candidate]

    def source(self, candidate: Candidate) -> str:
        """Where a candidate's gain would come from."""
        pairs = itertools.pairwise(candidate.stages)
        serial = all(any(set(one.positions) & set(self.needs.before[k]) for k in two.positions) for one, two in pairs)
        return candidate.source(serial=serial)

    def best_us(self, source: str, tolerance: float) -> float | None:
        """Screened time of the fastest of a form that is known to be within a tolerance; float32 is."""
        within = (
            us
            for candidate, us in self.times_us.items()
            if self.source(candidate) == source
            and (self._errors[candidate] <= tolerance if candidate in self._errors else not below_float32(candidate))
        )
        return min(within, default=None)

    def fastest(self, tolerance: float, count: int) -> list[Candidate]:
        """The fastest within a tolerance. Where a set of kernels below float32 errs too much, so does a larger one."""
        refused: list[set[int]] = []
        found: list[Candidate] = []
        for candidate in self.times_us:
            if len(found) == count:
                break
            low = below_float32(candidate)
            if any(low >= known for known in refused):
                continue
            if self.error(candidate) <= tolerance:
                found.append(candidate)
            elif low:
                refused.append(low)
        return found


def measure(model: OpenModel, candidates: Iterable[Candidate]) -> Space:
    """Screens all, a few at a time beside the same reference, so that a slow minute is told from a slow plan."""
    begin = time.monotonic()
    unique = list(dict.fromkeys(candidates))
    times_us = _screened(model, unique, rounds=3)
    needs = kernel_needs(model.task.graph)
    return Space(model=model, needs=needs, times_us=times_us, size=len(unique), seconds=time.monotonic() - begin)


def _screened(model: OpenModel, candidates: Sequence[Candidate], *, rounds: int) -> dict[Candidate, float]:
    """Times of those that ran, fastest first; pinned ones apart, since a pinned lane can hold another's threads."""
    bench, found = model.bench, dict[Candidate, float]()
    reference, level = bench.job(next(whole_models(model.task.graph)), "reference"), 0.0
    groups = [[c for c in candidates if pinned(c) == which] for which in (False, True)]
    parts = [group[at : at + BATCH] for group in groups for at in range(0, len(group), BATCH)]
    for at, part in enumerate(parts):
        jobs = [reference, *(bench.job(candidate, candidate.hash) for candidate in part)]
        first, *results = screen(jobs, rounds=rounds, round_s=0.01, drain_s=0.02, seed=at, deadline_s=300.0)
        now = first.median_us if isinstance(first, Measurement) else level
        level = level or now
        for candidate, result in zip(part, results, strict=True):
            if isinstance(result, Measurement):
                found[candidate] = result.median_us * level / now
    return dict(sorted(found.items(), key=lambda item: item[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A plan beside the best of a space.

    Args:
        best: of the space, within the tolerance; None where nothing is.
        fraction: speed of the plan over the best one's, on other launches than those that chose it.
    """

    best: Candidate | None
    fraction: Ratio | None


def judge(space: Space, plan: Candidate, tolerance: float, *, finalists: int = 3) -> Judgement:
    """Looks at the fastest once more, then measures the plan and the finalists, each in fresh processes of its own."""
    near = space.fastest(tolerance, LOOKED_AT_TWICE)
    again = _screened(space.model, near, rounds=8) if near else {}
    jobs: dict[Candidate, Job] = {plan: space.model.bench.job(plan, "plan")}
    for at, candidate in enumerate(list(again)[:finalists]):
        jobs.setdefault(candidate, space.model.bench.job(candidate, f"best {at + 1}"))
    times: dict[Candidate, list[Measurement | Failure]] = {candidate: [] for candidate in jobs}
    for launch in range(LAUNCHES):
        for candidate, job in jobs.items():
            times[candidate] += decide([job], launches=1, seed=launch, runs=15, time_cap_s=0.5, deadline_s=60.0)[0]
    gains = {candidate: speedup(own[::2], times[plan][::2]) for candidate, own in times.items() if candidate in again}
    known = {candidate: gain.ratio for candidate, gain in gains.items() if gain is not None}
    if not known:
        return Judgement(best=None, fraction=None)
    best = min(known, key=lambda candidate: known[candidate])
    if best == plan:  # the same sessions: measured twice it would tell only the noise
        return Judgement(best=best, fraction=Ratio(ratio=1.0, low=1.0, high=1.0))
    return Judgement(best=best, fraction=speedup(times[best][1::2], times[plan][1::2]))
