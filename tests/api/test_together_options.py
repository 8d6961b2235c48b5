"""What each model can run on in a joint plan, from what its own search measured."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from autotune.api.run import Contender, Run
from autotune.api.together_options import options_of
from autotune.core import Candidate, Lane, Measurement, StageChoice
from autotune.profiler import Job


def contender(us: float, *lanes: str, callers: int = 1) -> Contender:
    stages = tuple(StageChoice(start=at, stop=at + 1, lane=Lane.parse(lane)) for at, lane in enumerate(lanes))
    candidate = Candidate(stages=stages, callers=callers)
    result = Measurement(samples_us=(us,))
    return Contender(name=" ".join(lanes), job=cast("Job", None), candidate=candidate, result=result)


def found_by_search(singles: Sequence[Contender], partitions: Sequence[Contender] = ()) -> Run:
    run = SimpleNamespace(
        singles=lambda: list(singles),
        partitions=lambda: list(partitions),
        feasible=lambda _: True,
        contenders={"default": contender(1000.0, "cpu/f32")},
    )
    return cast("Run", run)


def test_thread_counts_between_measured_ones_are_options_too() -> None:
    run = found_by_search([contender(300.0, "cpu/f32/t4"), contender(900.0, "cpu/f32/t1")])
    found = {option.cores: option.each_us for option in options_of(run)}
    assert found == pytest.approx({1: 900.0, 2: 500.0, 3: 1100.0 / 3, 4: 300.0})


def test_pinned_lanes_are_no_options() -> None:
    """Two lanes on two cores would be moved to one and keep their time; streams of two models would share theirs."""
    streams = contender(200.0, "cpu/f32/t1/s2/c0+1", callers=2)
    branches = [contender(us, "cpu/f32/t1/c0", "cpu/f32/t1/c1") for us in (150.0, 160.0)]
    chain = contender(250.0, "cpu/f32/t1", "cpu/f32/t1/nospin")
    wide, narrow = contender(300.0, "cpu/f32/t2"), contender(400.0, "cpu/f32/t1")
    alone = contender(100.0, "cpu/f32/t4/c0+1+2+3")
    kept = options_of(found_by_search([alone, streams, wide, narrow], [*branches, chain]))
    lanes = {stage.lane for option in kept for stage in option.candidate.stages}
    assert not [lane for lane in lanes if lane.concurrency.cores]
    assert {(option.cores, option.each_us) for option in kept} >= {(2, 300.0), (1, 250.0), (1, 400.0)}
    (only,) = options_of(found_by_search([streams], branches))
    assert [str(stage.lane) for stage in only.candidate.stages] == ["cpu/f32"]
