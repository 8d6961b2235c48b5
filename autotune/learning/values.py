"""What the room gives: what was asked for, what ran when, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autotune.core import Kernel, Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A kernel on a lane that waits to be measured.

    Args:
        kernel: what.
        lane: where.
        disagreement: standard deviation of the committee's log predictions.
        matters: share of the models' time, 0..1, less where the lane is far from the kernel's best.
        seconds: expected time to measure it.
        reference: one of the few with which a lane begins, before anybody can disagree.
    """

    kernel: Kernel
    lane: Lane
    disagreement: float
    matters: float
    seconds: float
    reference: bool = False

    @property
    def worth(self) -> float:
        """What a second of measuring it is worth."""
        return self.disagreement * self.matters / self.seconds


class Work(StrEnum):
    """What a span of time was spent on."""

    MEASURING = "measuring"
    TRAINING = "training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of work with its begin and end, in seconds since learning began.

    Args:
        work: measuring a batch or training the committee.
        lane: that was measured; empty for training.
        begin_s: when it began.
        end_s: when it ended.
        count: kernels asked for, or records learnt from.
    """

    work: Work
    lane: str = ""
    begin_s: float
    end_s: float
    count: int


class End(StrEnum):
    """Why learning stopped."""

    AGREED = "agreed"
    BUDGET = "budget"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What came of it.

    Args:
        end: the committee agrees within the noise, the time is up, or everything is measured.
        measured: kernels × lanes that have a measurement now.
        failed: that could not be measured.
        pruned: dropped from the queue: no disagreement beyond the noise.
        waiting: still in the queue.
        spans: measuring and training, by their begin.
    """

    end: End
    measured: int
    failed: int
    pruned: int
    waiting: int
    spans: tuple[Span, ...]

    @property
    def overlap_s(self) -> float:
        """Seconds during which the committee was trained while a batch was measured."""
        measuring = [span for span in self.spans if span.work is Work.MEASURING]
        training = [span for span in self.spans if span.work is Work.TRAINING]
        shared = (min(a.end_s, b.end_s) - max(a.begin_s, b.begin_s) for a in measuring for b in training)
        return sum(max(0.0, seconds) for seconds in shared)
