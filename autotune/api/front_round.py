"""Several objectives: partitions spread over the predicted front, measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from autotune.api.deciding import has_time, reserve_s
from autotune.api.knowledge import Knowledge
from autotune.api.run import SEARCH_MARGIN, Run
from autotune.api.settings import Criterion
from autotune.api.verifying import measure_round, round_s
from autotune.core import Lane, Measurement
from autotune.planning import front_proposals
from autotune.planning.costs import Floats

MOST_PROPOSED = 4
"""Partitions that are measured for the front's sake."""


def front_round(run: Run, knowledge: Knowledge, number: int) -> None:
    """Measures partitions on the predicted front that no round has measured."""
    wanted = set(run.settings.objectives)
    if not wanted & {Criterion.MEMORY, Criterion.ERROR}:
        return
    tables = [t for t in knowledge.tables(run, low_precision=run.low_precision_allowed) if len(t.lanes) > 1]
    with run.budget.phase("search"):
        found = [
            proposal
            for table in tables
            for proposal in front_proposals(
                table,
                bytes_by_kernel=kernel_bytes(run, table.lanes),
                budget=(run.settings.tolerance * SEARCH_MARGIN) ** 2,
                memory=Criterion.MEMORY in wanted,
                error=Criterion.ERROR in wanted,
                count=MOST_PROPOSED,
            )
        ]
    fresh = [proposal for proposal in found if f"plan:{proposal.candidate.hash}" not in run.contenders]
    while fresh and not has_time(run, reserve_s(run) + round_s(run, fresh)):
        fresh.pop()
    if fresh:
        run.counters.rounds = max(run.counters.rounds, number)
        with run.budget.phase("verify"):
            measure_round(run, knowledge, fresh, number)


def kernel_bytes(run: Run, lanes: Sequence[Lane]) -> Floats:
    """[K, L] memory by kernel and lane: what the whole model took there, shared out by the kernels' weights."""
    weights = np.array([1.0 + sum(tensor.bytes for tensor in use.kernel.weights) for use in run.task.graph.kernels])
    peaks = {c.lanes[0]: float(c.result.peak_bytes) for c in run.singles() if isinstance(c.result, Measurement)}
    usual = statistics.median(peaks.values()) if peaks else 1.0
    return np.stack([weights / weights.sum() * peaks.get(lane, usual) for lane in lanes], axis=1)
