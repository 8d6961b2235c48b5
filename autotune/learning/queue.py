"""The waiting queue: kernels × lanes, ranked anew after each training, pruned where nobody disagrees any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from autotune.core import Kernel, Lane
from autotune.learning.belief import Belief
from autotune.learning.values import Question
from autotune.predictor import MIN_RECORDS
from autotune.predictor.features import KernelRows
from autotune.predictor.reference import reference_kernels

Vector = npt.NDArray[np.float64]
Seconds = Callable[[Kernel, float], float]
"""Expected seconds to measure a kernel of this latency in µs (`profiler.expected_seconds`)."""

ELSEWHERE = 0.2
"""Weight of a kernel of no model in hand, in shares of an average one: it helps to predict the others."""
UNDERSTATED = 2.0
"""Members share most of their records, so that they lie closer to each other than to the truth: by about this factor
before agreement is believed (`benchmarks/active_learning.py`: with 1, what is dropped costs accuracy)."""
TRIES = 2
"""How often a kernel is asked for that comes back without a record (no time left for it) until it is given up."""


class Queue:
    """What waits to be measured.

    Args:
        kernels: by signature, those of the models in hand and any others.
        lanes: where each of them shall be known.
        settled: (signature, lane) that need no measuring.
        uses: one mapping per model in hand, signature -> how often the model runs that kernel.
        seconds: expected time to measure.
    """

    def __init__(
        self,
        kernels: Mapping[str, Kernel],
        lanes: Sequence[Lane],
        *,
        settled: set[tuple[str, Lane]],
        uses: Sequence[Mapping[str, int]],
        seconds: Seconds,
    ) -> None:
        self._signatures = list(kernels)
        self._kernels = list(kernels.values())
        self._lanes = list(lanes)
        self._rows = KernelRows()
        self._seconds = seconds
        self._uses = np.array([[use.get(s, 0) for s in self._signatures] for use in uses], dtype=float)
        self._uses = self._uses.reshape(len(uses), len(self._signatures))
        self._waiting = {
            lane: [
                at for at, s in enumerate(self._signatures) if (s, lane) not in settled and self._kernels[at].buildable
            ]
            for lane in lanes
        }
        self._tries: dict[tuple[int, Lane], int] = {}
        self._at = {s: at for at, s in enumerate(self._signatures)}
        chosen = reference_kernels(self._kernels, MIN_RECORDS)
        self._references = {self._at[kernel.signature]: rank for rank, kernel in enumerate(chosen)}
        self.questions: list[Question] = []
        self.agreed: dict[Lane, int] = {}

    @property
    def pruned(self) -> int:
        """How many were dropped because the committee agrees on them."""
        return sum(self.agreed.values())

    def __len__(self) -> int:
        return len(self.questions)

    def rank(self, belief: Belief) -> None:
        """Order what waits by what a second is worth, and drop what the committee agrees on within the noise.

        Of a lane with too few records for agreement to mean anything, of whatever models, reference kernels come first.
        """
        logs, spread = np.empty((2, len(self._lanes), len(self._kernels)))
        for row, lane in enumerate(self._lanes):
            logs[row], spread[row] = belief.predict(self._kernels, lane, self._rows)
        matters = self._matters(np.exp(logs), spread)
        self.questions = []
        for row, lane in enumerate(self._lanes):
            own = belief.settled(lane)
            if own is not None:
                kept = [at for at in self._waiting[lane] if UNDERSTATED * spread[row, at] >= own.noise]
                self.agreed[lane] = self.agreed.get(lane, 0) + len(self._waiting[lane]) - len(kept)
                self._waiting[lane] = kept
            for at in self._waiting[lane]:
                latency_us = float(np.exp(logs[row, at]))
                self.questions.append(
                    Question(
                        kernel=self._kernels[at],
                        lane=lane,
                        disagreement=float(spread[row, at]),
                        matters=float(matters[row, at]),
                        seconds=self._seconds(self._kernels[at], latency_us),
                        reference=own is None and at in self._references,
                    )
                )
        self.questions.sort(key=lambda question: (not question.reference, -question.worth))

    def _matters(self, latency_us: Vector, spread: Vector) -> Vector:
        """[lanes, kernels] mean share of the models' time, times how near the lane may be to the kernel's best."""
        shares = np.zeros_like(latency_us)
        for use in self._uses:
            time_us = use * latency_us
            shares += time_us / np.maximum(time_us.sum(axis=1, keepdims=True), 1e-12) / len(self._uses)
        elsewhere = ELSEWHERE / len(self._kernels)
        optimistic = latency_us * np.exp(-spread)
        near = np.minimum(1.0, latency_us.min(axis=0) / optimistic)
        result: Vector = np.maximum(shares, elsewhere) * near
        return result

    def take(self, seconds: float) -> tuple[Lane, list[Kernel]]:
        """The next batch: one lane's best, about `seconds` of measuring; the lane whose batch is worth most.

        A lane that has too few records is taken first, with its reference kernels.

        Raises:
            ValueError: nothing waits.
        """
        batches: dict[Lane, list[Question]] = {}
        spent = dict.fromkeys(self._lanes, 0.0)
        for question in self.questions:
            lane = question.lane
            fits = lane not in batches or spent[lane] + question.seconds <= seconds
            if fits and (not batches.get(lane) or batches[lane][0].reference == question.reference):
                batches.setdefault(lane, []).append(question)
                spent[lane] += question.seconds
        if not batches:
            raise ValueError("nothing waits to be measured")
        lane = max(
            batches,
            key=lambda lane: (
                batches[lane][0].reference,
                sum(q.worth * q.seconds for q in batches[lane]) / spent[lane],
            ),
        )
        kernels = [question.kernel for question in batches[lane]]
        chosen = {self._at[kernel.signature] for kernel in kernels}
        self._waiting[lane] = [at for at in self._waiting[lane] if at not in chosen]
        self.questions = [q for q in self.questions if q.lane != lane or self._at[q.kernel.signature] not in chosen]
        return lane, kernels

    def back(self, kernels: Sequence[Kernel], lane: Lane) -> None:
        """They came back without a record: asked for once more, then given up."""
        for kernel in kernels:
            at = self._at[kernel.signature]
            self._tries[at, lane] = self._tries.get((at, lane), 0) + 1
            if self._tries[at, lane] < TRIES:
                self._waiting[lane].append(at)
