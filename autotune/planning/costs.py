"""The cost table: what every run of kernels would cost on every lane, from prefix sums.

A stage costs the sum of its kernels' marginal costs, plus what entering it costs (one call into the provider and the
bytes that come in), plus what leaving it costs (the bytes that go out). A change of lane within a plan may cost
something of its own: the pools of different providers disturb each other. All of it is predicted, nothing measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autotune.core import Candidate, Lane, StageChoice
from autotune.graph import Cut

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How many requests run at once; fixed within one cost table.

    Args:
        callers: threads that call `run` at the same time.
        batch: requests joined into one.
    """

    callers: int = 1
    batch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneCost:
    """What a stage costs on a lane beyond its kernels (additive; fitted on measured stages).

    Args:
        call_us: once per stage.
        per_byte_in_us: per byte that comes in.
        per_byte_out_us: per byte that goes out.
        scale: of the sum of the kernels' marginal costs.
    """

    call_us: float
    per_byte_in_us: float
    per_byte_out_us: float
    scale: float = 1.0


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class CostTable:
    """Predicted cost of all (cut, cut, lane) triples of one model under one setting.

    Args:
        setting: callers and batch.
        lanes: L lanes.
        kernel_us: [K, L] cost of each kernel inside a stage; inf where the lane cannot run it.
        entry_us: [K + 1, L] cost of a stage that starts at this cut; inf where cutting is illegal.
        exit_us: [K + 1, L] cost of a stage that ends at this cut; inf where cutting is illegal.
        error: [K, L, P] squared error that each kernel adds to each of the P output parts.
        change_us: [L, L] what a stage on the second lane right after one on the first costs beyond entry and exit.
    """

    setting: Setting
    lanes: tuple[Lane, ...]
    kernel_us: Floats
    entry_us: Floats
    exit_us: Floats
    error: Floats
    change_us: Floats

    def __post_init__(self) -> None:
        count, lanes = self.kernel_us.shape
        if (
            lanes != len(self.lanes)
            or self.change_us.shape != (lanes, lanes)
            or self.entry_us.shape != (count + 1, lanes)
            or self.exit_us.shape != (count + 1, lanes)
        ):
            raise ValueError("the arrays of a cost table disagree in shape")

    @property
    def kernels(self) -> int:
        """Number of kernels."""
        return int(self.kernel_us.shape[0])

    @property
    def triples(self) -> int:
        """Number of (cut, cut, lane) triples that the table prices."""
        return self.kernels * (self.kernels + 1) // 2 * len(self.lanes)

    def stage_us(self, start: int, stop: int, lane: Lane) -> float:
        """Predicted time of one stage."""
        at = self.lanes.index(lane)
        inside = float(self.kernel_us[start:stop, at].sum())
        return float(self.entry_us[start, at]) + inside + float(self.exit_us[stop, at])

    def candidate_us(self, candidate: Candidate) -> float:
        """Predicted time of one request (SingleStream) or per sample (Offline)."""
        at = [self.lanes.index(stage.lane) for stage in candidate.stages]
        changes = sum(float(self.change_us[before, after]) for before, after in pairwise(at))
        return changes + sum(self.stage_us(stage.start, stage.stop, stage.lane) for stage in candidate.stages)

    def candidate_error(self, candidate: Candidate) -> Floats:
        """[P] predicted squared error of each output part: squares add."""
        total = np.zeros(self.error.shape[2])
        for stage in candidate.stages:
            total += self.error[stage.start : stage.stop, self.lanes.index(stage.lane)].sum(axis=0)
        return total

    def with_cuts(self, factor: float) -> CostTable:
        """The same with what cuts inside the model cost multiplied by this factor."""
        entry_us, exit_us = self.entry_us.copy(), self.exit_us.copy()
        entry_us[1:] *= factor
        exit_us[:-1] *= factor
        return replace(self, entry_us=entry_us, exit_us=exit_us, change_us=self.change_us * factor)

    def all_stages_us(self) -> Floats:
        """[K + 1, K + 1, L] cost of every stage (start, stop, lane); inf where stop <= start or a cut is illegal."""
        finite = np.where(np.isfinite(self.kernel_us), self.kernel_us, 0.0)
        prefix = np.concatenate([np.zeros((1, len(self.lanes))), np.cumsum(finite, axis=0)])
        blocked = np.concatenate([np.zeros((1, len(self.lanes))), np.cumsum(~np.isfinite(self.kernel_us), axis=0)])
        table = prefix[None, :, :] - prefix[:, None, :] + self.entry_us[:, None, :] + self.exit_us[None, :, :]
        table[(blocked[None, :, :] - blocked[:, None, :]) > 0] = np.inf
        start, stop = np.indices(table.shape[:2])
        table[stop <= start] = np.inf
        return np.asarray(table)

    def choose(self, lane_per_kernel: Sequence[int]) -> Candidate:
        """The candidate that gives kernel k to lane `lane_per_kernel[k]`, neighbours on one lane joined to a stage."""
        stages: list[StageChoice] = []
        start = 0
        for at in range(1, self.kernels + 1):
            if at == self.kernels or lane_per_kernel[at] != lane_per_kernel[start]:
                stages.append(StageChoice(start=start, stop=at, lane=self.lanes[lane_per_kernel[start]]))
                start = at
        return Candidate(stages=tuple(stages), callers=self.setting.callers, batch=self.setting.batch)


def build_table(
    *,
    setting: Setting,
    kernel_us: Mapping[Lane, Floats],
    lane_costs: Mapping[Lane, LaneCost],
    cuts: Sequence[Cut],
    model_bytes: tuple[int, int],
    error: Mapping[Lane, Floats],
    parts: int,
    change_us: Mapping[tuple[str, str], float] | None = None,
) -> CostTable:
    """The table of one setting.

    Args:
        setting: callers and batch.
        kernel_us: [K] cost of each kernel inside a stage, by lane.
        lane_costs: entry and exit of a stage, by lane.
        cuts: K + 1 cuts of the graph.
        model_bytes: bytes of the model's inputs and of its outputs.
        error: [K, P] squared error of each kernel by lane; lanes that are not named add none.
        parts: P.
        change_us: by processors, before and after, what a change costs beyond entry and exit; None: nothing.
    """
    lanes = tuple(kernel_us)
    count = len(cuts) - 1
    cut_bytes = np.array([cut.bytes for cut in cuts], dtype=float)
    legal = np.array([cut.legal for cut in cuts])
    bytes_in, bytes_out = cut_bytes.copy(), cut_bytes.copy()
    bytes_in[0], bytes_out[-1] = model_bytes
    entry = np.stack([lane_costs[lane].call_us + lane_costs[lane].per_byte_in_us * bytes_in for lane in lanes], axis=1)
    leave = np.stack([lane_costs[lane].per_byte_out_us * bytes_out for lane in lanes], axis=1)
    entry[~legal] = np.inf
    leave[~legal] = np.inf
    none = np.zeros((count, parts))
    changes = change_us or {}
    return CostTable(
        setting=setting,
        lanes=lanes,
        kernel_us=np.stack([kernel_us[lane] for lane in lanes], axis=1),
        entry_us=entry,
        exit_us=leave,
        error=np.stack([error.get(lane, none) for lane in lanes], axis=1),
        change_us=np.array([[changes.get((a.processor, b.processor), 0.0) for b in lanes] for a in lanes]),
    )
