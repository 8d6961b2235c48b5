"""What it costs here that one worker's stage is followed by another worker's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autotune.core import Concurrency, Lane
from autotune.runtime.pipeline import Pipeline

STAGES, RUNS = 8, 40


class _Nothing:
    """A session that hands its inputs on: what remains is the executor."""

    def run(self, _names: Sequence[str], feeds: Mapping[str, Any], _options: Any = None, /) -> Sequence[Any]:
        return list(feeds.values())


def handover_us(cores: Sequence[int], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Microseconds from the end of a stage until the next one begins on another lane; takes tens of milliseconds.

    What a request takes longer through stages that two workers do in turns than through one, by hand-over; medians.

    Args:
        cores: of which the first two are the workers'; with fewer these are not pinned.
        clock: seconds.
    """
    where = [(core,) for core in cores[:2]] if len(cores) > 1 else [(), ()]
    lanes = [
        Lane(processor=f"worker{at}", concurrency=Concurrency(threads=1, cores=own)) for at, own in enumerate(where)
    ]
    pipelines = [_chain(lanes[:1]), _chain(lanes * (STAGES // 2))]
    try:
        times = [[_round_trip_s(pipeline, clock) for pipeline in pipelines] for _ in range(RUNS)]
    finally:
        for pipeline in pipelines:
            pipeline.close()
    one_s, chain_s = (float(statistics.median(own)) for own in zip(*times, strict=True))
    return max(0.0, (chain_s - one_s) / (STAGES - 1)) * 1e6


def _chain(lanes: Sequence[Lane]) -> Pipeline:
    steps = [(_Nothing(), [f"t{at}"], [f"t{at + 1}"]) for at in range(len(lanes))]
    return Pipeline(steps, lanes, [f"t{len(lanes)}"])


def _round_trip_s(pipeline: Pipeline, clock: Callable[[], float]) -> float:
    begin = clock()
    pipeline.submit(None, {"t0": 0}).result()
    return clock() - begin
