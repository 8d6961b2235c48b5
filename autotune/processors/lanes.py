"""The lanes of a processor that are worth trying."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.core import Concurrency, Lane, Processor


def thread_counts(cores: int) -> tuple[int, ...]:
    """All cores, then halves down to one."""
    counts = []
    count = cores
    while count >= 1:
        counts.append(count)
        count //= 2
    return tuple(counts) if counts else (1,)


def lanes_of(processor: Processor, *, cores: Sequence[int]) -> tuple[Lane, ...]:
    """Lanes to try, the most promising first: threads × working precisions, spinning off on the CPU provider too.

    Args:
        processor: where.
        cores: those that may be used.
    """
    if processor.device != "cpu":
        return tuple(Lane(processor=processor.name, precision=precision) for precision in processor.precisions)
    counts = thread_counts(len(cores))
    lanes = [
        Lane(processor=processor.name, precision=precision, concurrency=Concurrency(threads=threads))
        for precision in processor.precisions
        for threads in counts
    ]
    if processor.name == "cpu" and counts[0] > 1:
        lanes.append(Lane(processor="cpu", concurrency=Concurrency(threads=counts[0], spinning=False)))
    return tuple(lanes)
