"""Several objectives: which points no other beats, and candidates spread over what is predicted of them.

A weighted sum of objectives that add up over kernels is one price per kernel and lane, and the cheapest chain under it
is exact (`cheapest_chain`). Over all weights these are the points on the convex hull of the predicted front (Ehrgott,
Multicriteria Optimization, 2005, chapter 3); what lies in its dents is left to measuring.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autotune.core import Candidate
from autotune.planning.chain import cheapest_chain
from autotune.planning.costs import CostTable, Floats
from autotune.planning.explore import Proposal

PRICES = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
"""Of the further objectives, each relative to the time that it is set against."""


def non_dominated(values: Floats) -> list[int]:
    """Positions of the points that no other beats in every objective, in their order.

    Args:
        values: [N, M], less is better; of equal points the first is kept.
    """
    kept = []
    for at, point in enumerate(values):
        no_worse = (values <= point).all(axis=1)
        better = (values < point).any(axis=1)
        equal_before = (values[:at] == point).all(axis=1).any()
        if not (no_worse & better).any() and not equal_before:
            kept.append(at)
    return kept


def spread(values: Floats, count: int) -> list[int]:
    """Positions of so many points, the best of each objective first, then always the one farthest from those chosen.

    Args:
        values: [N, M], less is better.
        count: how many at most.
    """
    if not len(values):
        return []
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    chosen = list(dict.fromkeys(int(at) for at in values.argmin(axis=0)))[:count]
    while len(chosen) < min(count, len(values)):
        distance = np.linalg.norm(scaled[:, None] - scaled[chosen][None], axis=2).min(axis=1)
        farthest = int(distance.argmax())
        if distance[farthest] == 0:
            break
        chosen.append(farthest)
    return chosen


def front_proposals(
    table: CostTable, *, bytes_by_kernel: Floats, budget: float, memory: bool, error: bool, count: int
) -> list[Proposal]:
    """Partitions spread over the predicted front of time, memory and output error.

    Args:
        table: what everything costs.
        bytes_by_kernel: [K, L] memory that each kernel is predicted to take on each lane.
        budget: largest squared error of any output part.
        memory: whether memory counts.
        error: whether output error counts.
        count: how many at most.
    """
    time_us = float(np.where(np.isfinite(table.kernel_us), table.kernel_us, 0.0).sum(axis=0).min())
    memory_price = time_us / max(float(bytes_by_kernel.sum(axis=0).min()), 1.0)
    error_price = time_us / max(budget, 1e-30)
    parts = np.ones(table.error.shape[2])
    found: dict[str, Candidate] = {}
    for of_memory, of_error in itertools.product(PRICES if memory else (0.0,), PRICES):
        priced = replace(table, kernel_us=table.kernel_us + of_memory * memory_price * bytes_by_kernel)
        candidate = cheapest_chain(priced, price=of_error * error_price * parts)
        within = float(table.candidate_error(candidate).max(initial=0.0)) <= budget
        if within and not candidate.is_single_lane and np.isfinite(table.candidate_us(candidate)):
            found.setdefault(candidate.hash, candidate)
    candidates = list(found.values())
    values = _predicted(table, candidates, bytes_by_kernel)
    columns = [0, *([1] if memory else []), *([2] if error else [])]
    kept = non_dominated(values[:, columns])
    chosen = spread(values[kept][:, columns], count)
    return [
        Proposal(
            candidate=candidates[kept[at]],
            predicted_us=float(values[kept[at], 0]),
            predicted_error=float(values[kept[at], 2]),
            origin="front",
            predicted_bytes=int(values[kept[at], 1]),
        )
        for at in chosen
    ]


def _predicted(table: CostTable, candidates: Sequence[Candidate], bytes_by_kernel: Floats) -> NDArray[np.float64]:
    """[N, 3] time, memory and output error."""
    rows = []
    for candidate in candidates:
        memory = sum(
            float(bytes_by_kernel[stage.start : stage.stop, table.lanes.index(stage.lane)].sum())
            for stage in candidate.stages
        )
        error = float(table.candidate_error(candidate).max(initial=0.0)) ** 0.5
        rows.append((table.candidate_us(candidate), memory, error))
    return np.array(rows).reshape(-1, 3)
