"""The lanes of a processor that are worth trying."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.core import Concurrency, Lane, Processor

THREADED = ("CPUExecutionProvider", "OpenVINOExecutionProvider")
"""Providers that can be told how many threads to use; of OpenVINO's devices, only the CPU."""


def thread_counts(cores: int) -> tuple[int, ...]:
    """All cores, half of them (where that is at least two), and one: where a search for the best number begins."""
    counts = [cores, cores // 2 if cores >= 4 else cores, 1]
    return tuple(dict.fromkeys(max(1, count) for count in counts))


def lanes_of(processor: Processor, *, cores: Sequence[int]) -> tuple[Lane, ...]:
    """Lanes to try: threads × working precisions on a CPU, all cores first; one per precision elsewhere.

    ONNX Runtime's CPU provider also gets all cores without spinning: what several sessions beside each other need.

    Args:
        processor: where.
        cores: those that may be used.
    """
    if processor.device != "cpu" or processor.provider not in THREADED:
        return tuple(Lane(processor=processor.name, precision=precision) for precision in processor.precisions)
    counts = thread_counts(len(cores))
    lanes = [
        Lane(processor=processor.name, precision=precision, concurrency=Concurrency(threads=threads))
        for precision in processor.precisions
        for threads in counts
    ]
    if processor.provider == "CPUExecutionProvider" and counts[0] > 1:
        quiet = Concurrency(threads=counts[0], spinning=False)
        lanes.append(Lane(processor=processor.name, concurrency=quiet))
    return tuple(lanes)
