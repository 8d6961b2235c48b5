"""The hand-over between two workers, measured."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from autotune.processors import allowed_cores
from autotune.profiler.handover import RUNS, STAGES, handover_us


def ticks(one_s: float, chain_s: float) -> Iterator[float]:
    """Times at the begin and end of requests through one stage and through a chain, in turns."""
    now = 0.0
    for _ in range(RUNS):
        for taken in (one_s, chain_s):
            yield now
            now += taken
            yield now


def test_it_is_what_each_further_stage_adds_and_no_worker_is_left() -> None:
    before = threading.active_count()
    for cores in (allowed_cores(), allowed_cores()[:1]):
        clock = ticks(20e-6, (20 + 12 * (STAGES - 1)) * 1e-6)
        assert handover_us(cores, clock=lambda times=clock: next(times)) == pytest.approx(12.0)  # type: ignore[misc]
    assert handover_us(allowed_cores()) > 0
    assert threading.active_count() == before
