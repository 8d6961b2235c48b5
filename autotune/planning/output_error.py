"""How much output error a choice of precisions adds: measured per segment, spread over its kernels, squares add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autotune.core import Candidate, Kernel, Lane, Precision
from autotune.planning.costs import Floats

COMPUTE_FAMILIES = ("convolution", "depthwise", "matmul", "attention", "recurrent")
UNUSABLE = 1.0
"""Squared error of a segment that a lane could not run: no tolerance allows it."""
PASSES = 30
"""Rounds over all that was measured; a dozen candidates are met after fewer."""
STEP = 0.5
"""Power of the ratio that a round takes, so that candidates that contradict each other do not swing."""
MOST_STEP = 2.0


class ErrorModel:
    """Squared relative error per kernel, lane and output part.

    Segments are measured one at a time at the lower precision; a segment's squared error is shared out over its
    kernels, those that multiply and add getting most of it. Errors of neighbours cancel or add up, so whole candidates
    correct this: kernels that a measured candidate has in common are scaled until all that was measured is met
    (multiplicative algebraic reconstruction; Gordon, Bender and Herman 1970).

    Args:
        kernels: the model's kernels in order.
        parts: names of the output parts.
    """

    def __init__(self, kernels: Sequence[Kernel], parts: Sequence[str]) -> None:
        self.parts = tuple(parts)
        self._share = np.array([1.0 if kernel.family in COMPUTE_FAMILIES else 0.1 for kernel in kernels])
        self._segments: dict[tuple[str, Precision], Floats] = {}
        self._fitted: dict[tuple[str, Precision], Floats] = {}
        self._facts: list[tuple[Candidate, Floats]] = []

    def measured(self, lane: Lane, ranges: Sequence[tuple[int, int]], errors: Sequence[Mapping[str, float]]) -> None:
        """Takes in the squared error that each segment alone adds on a lane's processor at its precision."""
        table = np.zeros((len(self._share), len(self.parts)))
        for (start, stop), error in zip(ranges, errors, strict=True):
            share = self._share[start:stop] / self._share[start:stop].sum()
            table[start:stop] = share[:, None] * np.array([error.get(part, 0.0) for part in self.parts])[None, :]
        self._segments[lane.kind] = table
        self._fit()

    def verified(self, candidate: Candidate, found: Mapping[str, float]) -> None:
        """Takes in the output error that a candidate was measured to have.

        Args:
            candidate: what ran, a chain.
            found: squared error by part.
        """
        self._facts.append((candidate, np.array([found.get(part, 0.0) for part in self.parts])))
        self._fit()

    def tables(self, lanes: Sequence[Lane]) -> dict[Lane, Floats]:
        """[K, P] squared error of those lanes of which it is known."""
        return {lane: self._fitted[lane.kind] for lane in lanes if lane.kind in self._fitted}

    def _fit(self) -> None:
        """Starts from the segments and goes round the measured candidates, half a step at a time."""
        self._fitted = {key: table.copy() for key, table in self._segments.items()}
        for _ in range(PASSES):
            for candidate, found in self._facts:
                pieces = [
                    self._fitted[stage.lane.kind][stage.start : stage.stop]
                    for stage in candidate.stages
                    if stage.lane.kind in self._fitted
                ]
                predicted = sum((piece.sum(axis=0) for piece in pieces), np.zeros(len(self.parts)))
                known = (predicted > 0) & (predicted < UNUSABLE) & (found > 0)
                ratio = np.divide(found, predicted, out=np.ones_like(found), where=known)
                for piece in pieces:
                    piece *= np.clip(ratio**STEP, 1 / MOST_STEP, MOST_STEP)
