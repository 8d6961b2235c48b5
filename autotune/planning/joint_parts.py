"""What joint plans are made of and judged by: ways to run each model, the objective, what models do to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from autotune.core import Candidate, Fairness


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
        return max(stage.lane.threads_busy(self.candidate.callers) for stage in self.candidate.stages)

    @property
    def devices(self) -> frozenset[str]:
        """Processors that it uses besides the CPU."""
        return frozenset(stage.lane.processor for stage in self.candidate.stages if not stage.lane.on_cpu)


class Slowdowns(Protocol):
    """What is known of models that work at the same time on cores or processors of their own."""

    def __call__(self, victim: int, option: Option, beside: int, other: Option, /) -> float | None:
        """How many times longer a model takes with an option while another one is always busy; None: not known.

        Args:
            victim: position of the model that is slowed down.
            option: how it runs.
            beside: position of the other model.
            other: how that one runs.
        """
