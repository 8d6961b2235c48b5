"""How much output error a choice of precisions adds: measured per segment, spread over its kernels, squares add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autotune.core import Kernel, Lane
from autotune.planning.costs import Floats

COMPUTE_FAMILIES = ("convolution", "depthwise", "matmul", "attention", "recurrent")


class ErrorModel:
    """Squared relative error per kernel, lane and output part.

    Segments are measured one at a time at the lower precision; a segment's squared error is shared out over its
    kernels,
    those that multiply and add getting most of it. What whole plans showed corrects the level (a factor per lane).

    Args:
        kernels: the model's kernels in order.
        parts: names of the output parts.
    """

    def __init__(self, kernels: Sequence[Kernel], parts: Sequence[str]) -> None:
        self.parts = tuple(parts)
        self._share = np.array([1.0 if kernel.family in COMPUTE_FAMILIES else 0.1 for kernel in kernels])
        self._error: dict[Lane, Floats] = {}
        self._factor: dict[Lane, float] = {}

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Lanes whose error is known."""
        return tuple(self._error)

    def measured(self, lane: Lane, ranges: Sequence[tuple[int, int]], errors: Sequence[Mapping[str, float]]) -> None:
        """Takes in the squared error that each segment alone adds on a lane."""
        table = np.zeros((len(self._share), len(self.parts)))
        for (start, stop), error in zip(ranges, errors, strict=True):
            share = self._share[start:stop] / self._share[start:stop].sum()
            table[start:stop] = share[:, None] * np.array([error.get(part, 0.0) for part in self.parts])[None, :]
        self._error[lane] = table
        self._factor[lane] = 1.0

    def verified(self, predicted: Floats, found: Mapping[str, float], lanes: Sequence[Lane]) -> None:
        """Corrects the level after a plan's output error was measured.

        Args:
            predicted: [P] squared error that this model predicted for it.
            found: measured squared error by part.
            lanes: the lower-precision lanes that the plan uses.
        """
        actual = np.array([found.get(part, 0.0) for part in self.parts])
        worst = int(actual.argmax())
        if predicted[worst] <= 0 or actual[worst] <= 0:
            return
        step = float(np.clip(actual[worst] / predicted[worst], 0.25, 4.0)) ** 0.5  # half a step in the logarithm
        for lane in set(lanes) & set(self._error):
            self._factor[lane] = float(np.clip(self._factor[lane] * step, 0.1, 20.0))

    def tables(self) -> dict[Lane, Floats]:
        """[K, P] squared error by lane."""
        return {lane: error * self._factor[lane] for lane, error in self._error.items()}
