"""Lanes that work at the same time, and what a candidate that uses them together is predicted to take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autotune.core import Candidate, Lane, Scenario, StageChoice
from autotune.graph import Graph
from autotune.graph.values import used_names
from autotune.planning.costs import Floats, LaneCost
from autotune.simulator import CoRun, StagedPlan, offline, single_stream

HANDOVER_US = 15.0
"""From the end of a stage until the next one begins on another lane, where it was not measured."""
REQUESTS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelNeeds:
    """Which kernels a kernel needs.

    Args:
        before: [K] positions of the kernels whose tensors it takes.
        bytes_out: [K] bytes that it hands to others.
    """

    before: tuple[tuple[int, ...], ...]
    bytes_out: tuple[int, ...]


def kernel_needs(graph: Graph) -> KernelNeeds:
    """What the kernels of a model need of each other."""
    nodes = graph.model.graph.node
    maker = {name: k for k, group in enumerate(graph.groups) for at in group for name in nodes[at].output if name}
    before: list[set[int]] = [set() for _ in graph.groups]
    handed: list[set[str]] = [set() for _ in graph.groups]
    for k, group in enumerate(graph.groups):
        for name in (name for at in group for name in used_names(nodes[at])):
            made_by = maker.get(name, k)
            if made_by != k:
                before[k].add(made_by)
                handed[made_by].add(name)
    sizes = [sum(graph.specs[name].bytes for name in names if name in graph.specs) for names in handed]
    return KernelNeeds(before=tuple(tuple(sorted(own)) for own in before), bytes_out=tuple(sizes))


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class LaneTeam:
    """Lanes with processors or cores of their own.

    Args:
        lanes: L lanes.
        kernel_us: [K, L] marginal cost of each kernel, inf where a lane cannot run it.
        costs: [L] what a stage costs beyond its kernels.
        needs: of the model's kernels.
        corun: slowdowns of lanes that are busy together, by position; a pair that is missing does not disturb.
        handover_us: from the end of a stage until the next one begins on another lane.
    """

    lanes: tuple[Lane, ...]
    kernel_us: Floats
    costs: tuple[LaneCost, ...]
    needs: KernelNeeds
    corun: Mapping[tuple[int, int], float] = field(default_factory=dict)
    handover_us: float = HANDOVER_US

    def unlike(self, lanes: Sequence[int]) -> list[int]:
        """Lanes of which no two are alike: the same costs, processor and slowdowns, on other cores."""
        return [group[0] for group in self.unlike_groups((lane,) for lane in lanes)]

    def unlike_groups(self, groups: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Groups of lanes, in order, without those that would be the same with lanes that are alike."""
        kinds = [
            (
                lane.processor,
                lane.precision,
                self.kernel_us[:, at].tobytes(),
                self.costs[at],
                tuple(sorted(by for pair, by in self.corun.items() if pair[0] == at)),
            )
            for at, lane in enumerate(self.lanes)
        ]
        found: dict[tuple[object, ...], tuple[int, ...]] = {}
        for group in groups:
            found.setdefault(tuple(kinds[lane] for lane in group), group)
        return list(found.values())

    def beside(self, lane: int, others: Iterable[int]) -> float:
        """How many times longer a lane takes while the others are busy."""
        return math.prod(self.corun.get((lane, other), 1.0) for other in others if other != lane)

    def estimate_us(self, candidate: Candidate, scenario: Scenario) -> float:
        """Predicted time of one request (SingleStream) or per sample (the others), by simulation."""
        plan = self.staged(candidate)
        if scenario.overlapping:
            return float(1e6 / offline([plan], requests=REQUESTS).throughput_per_s[0])
        return float(np.median(single_stream([plan], requests=3).latency_us))

    def staged(self, candidate: Candidate) -> StagedPlan:
        """The candidate as the simulation takes it; its stages must be in an order in which they can run."""
        owners: dict[int, set[int]] = {}
        for number, stage in enumerate(candidate.stages):
            for kernel in stage.positions:
                owners.setdefault(kernel, set()).add(number)
        lane = tuple(self.lanes.index(stage.lane) for stage in candidate.stages)
        needs, times = [], []
        for number, stage in enumerate(candidate.stages):
            sources = {k for kernel in stage.positions for k in self.needs.before[kernel]} - set(stage.positions)
            before = {other for k in sources for other in owners[k]} - {number}
            needs.append(tuple(sorted(before)))
            waits = any(lane[other] != lane[number] for other in before)
            times.append(self._stage_us(candidate, stage, lane[number], sources) + self.handover_us * waits)
        corun: CoRun = {pair: by for pair, by in self.corun.items() if set(pair) <= set(lane)}
        streams = tuple(own.concurrency.streams for own in self.lanes)[: max(lane) + 1]
        return StagedPlan(stage_us=tuple(times), lane=lane, needs=tuple(needs), streams=streams, corun=corun or None)

    def _stage_us(self, candidate: Candidate, stage: StageChoice, lane: int, sources: set[int]) -> float:
        share = 1.0
        if stage.part is not None:
            split = next(split for split in candidate.splits if split.kernels == stage.kernels)
            share = split.shares[stage.part] / sum(split.shares)
        cost, own = self.costs[lane], list(stage.positions)
        bytes_in = sum(self.needs.bytes_out[k] for k in sources)
        bytes_out = self.needs.bytes_out[own[-1]] * share
        inside = float(self.kernel_us[own, lane].sum()) * share
        return cost.call_us + inside + cost.per_byte_in_us * bytes_in + cost.per_byte_out_us * bytes_out
