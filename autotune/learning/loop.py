"""Measuring and learning side by side (parallel active learning; Zhou et al., PAL, arXiv 2412.00401).

While a batch is measured in worker processes, this process trains the committee on what came before, on a core that the
batch's lane leaves free, and ranks and prunes the queue. A lane that needs every core is measured alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from autotune.core import Kernel, Lane, Measurement, ProfileRecord
from autotune.learning.belief import Belief, believe
from autotune.learning.measuring import Measurer
from autotune.learning.queue import Queue
from autotune.learning.values import End, Lesson, Span, Work
from autotune.processors.cores import pin_thread

BATCHES = 12
"""Batches that the budget shall allow: each costs the start of a worker, and each training makes the next one wiser."""
LEAST_BATCH_S, MOST_BATCH_S = 2.0, 15.0
"""Seconds of a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What learning may use.

    Args:
        budget_s: seconds for all of it.
        cores: of the device.
        seed: of the committee's samples.
        batch_s: seconds of a batch; 0: by the budget.
    """

    budget_s: float
    cores: tuple[int, ...]
    seed: int = 0
    batch_s: float = 0.0

    @property
    def batch(self) -> float:
        """Seconds of a batch."""
        return self.batch_s or min(MOST_BATCH_S, max(LEAST_BATCH_S, self.budget_s / BATCHES))


def free_core(lane: Lane, cores: Sequence[int]) -> int | None:
    """A core that the lane leaves free, None where it needs them all (or does not say how many it needs)."""
    setting = lane.concurrency
    if not setting.threads or setting.threads * setting.streams >= len(cores):
        return None
    unpinned = [core for core in cores if core not in setting.cores]
    return unpinned[-1] if unpinned else None


def learn(
    queue: Queue,
    measurer: Measurer,
    pace: Pace,
    *,
    known: Sequence[ProfileRecord] = (),
    on_record: Callable[[ProfileRecord], None],
    clock: Callable[[], float] = time.monotonic,
) -> Lesson:
    """Measure what the committee asks for until it agrees, everything is measured, or the time is up.

    Args:
        queue: what waits.
        measurer: measures a batch.
        pace: budget and cores.
        known: records of this device that there are already.
        on_record: takes each new record, in the thread that measures.
        clock: seconds, for the budget and the spans.
    """
    return _Lessons(queue, measurer, pace, known, on_record, clock).run()


class _Lessons:
    def __init__(
        self,
        queue: Queue,
        measurer: Measurer,
        pace: Pace,
        known: Sequence[ProfileRecord],
        on_record: Callable[[ProfileRecord], None],
        clock: Callable[[], float],
    ) -> None:
        self._queue, self._measurer, self._pace, self._on_record, self._clock = queue, measurer, pace, on_record, clock
        self._records = list(known)
        self._before = len(self._records)
        self._learnt = 0
        self._belief = Belief(cores=len(pace.cores))
        self._spans: list[Span] = []
        self._begin = clock()

    def _now(self) -> float:
        return self._clock() - self._begin

    def run(self) -> Lesson:
        """Batch after batch; a thread of its own measures, so that training can go on beside it."""
        with (
            ThreadPoolExecutor(1, thread_name_prefix="measure") as measuring,
            ThreadPoolExecutor(1, thread_name_prefix="train") as training,
        ):
            training.submit(self._train, ()).result()
            while len(self._queue) and self._now() < self._pace.budget_s:
                lane, batch = self._queue.take(min(self._pace.batch, self._pace.budget_s - self._now()))
                spare = free_core(lane, self._pace.cores)
                others = tuple(core for core in self._pace.cores if core != spare) if spare is not None else ()
                running = measuring.submit(self._measure, lane, batch, others)
                if spare is not None:
                    training.submit(self._train, (spare,)).result()
                self._keep(running, lane, batch)
                if spare is None or not len(self._queue):
                    training.submit(self._train, ()).result()
        new = self._records[self._before :]
        measured = sum(isinstance(record.result, Measurement) for record in new)
        end = End.BUDGET if len(self._queue) else End.AGREED if self._queue.pruned else End.MEASURED
        return Lesson(
            end=end,
            measured=measured,
            failed=len(new) - measured,
            pruned=self._queue.pruned,
            waiting=len(self._queue),
            spans=tuple(sorted(self._spans, key=lambda span: span.begin_s)),
        )

    def _measure(self, lane: Lane, batch: Sequence[Kernel], cores: Sequence[int]) -> list[ProfileRecord]:
        begin, found = self._now(), []

        def keep(record: ProfileRecord) -> None:
            found.append(record)
            self._on_record(record)

        self._measurer.measure(
            batch,
            lane,
            cores=cores or self._pace.cores,
            deadline_s=max(1.0, self._pace.budget_s - begin),
            on_record=keep,
        )
        self._spans.append(
            Span(work=Work.MEASURING, lane=str(lane), begin_s=begin, end_s=self._now(), count=len(batch))
        )
        return found

    def _keep(self, running: Future[list[ProfileRecord]], lane: Lane, batch: Sequence[Kernel]) -> None:
        found = running.result()
        self._records += found
        answered = {id(record.kernel) for record in found}
        self._queue.back([kernel for kernel in batch if id(kernel) not in answered], lane)

    def _train(self, cores: Sequence[int]) -> None:
        """Train on all records so far and rank the queue by it; on these cores, or on all."""
        pin_thread(cores or self._pace.cores)
        begin = self._now()
        if len(self._records) > self._learnt:
            self._belief = believe(self._records, self._belief, seed=self._pace.seed)
            self._learnt = len(self._records)
            self._spans.append(Span(work=Work.TRAINING, begin_s=begin, end_s=self._now(), count=self._learnt))
        self._queue.rank(self._belief)
