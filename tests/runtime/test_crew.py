"""Who works on which lane: streams, pinned cores, and lanes that must take turns."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.core import Concurrency, Lane
from autotune.errors import PlanError
from autotune.runtime import crew as crews
from autotune.runtime.crew import apart, copies_of, crews_of


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "allowed_cores", lambda: tuple(range(8)))


def pins(*lanes: str, threads: int = 1) -> list[list[tuple[int, ...]]]:
    return [[seat.cores for seat in crew.seats] for crew in crews_of([Lane.parse(n) for n in lanes], threads=threads)]


def test_a_lane_has_as_many_workers_as_streams_or_callers() -> None:
    assert pins("cpu/f32/t1") == [[()]]
    assert pins("cpu/f32/t1", threads=3) == [[(), (), ()]]
    assert pins("openvino:cpu/f32/t1/s2") == [[(), ()]]
    assert pins("cpu/f32/t1", "openvino:cpu/f32/t1/s2", "cpu/f32/t1") == [[()], [(), ()]]


def test_callers_are_shared_by_the_lanes_that_are_not_pinned() -> None:
    assert pins("cpu/f32/t2", "openvino:cpu/f32/t2", threads=2) == [[(), ()]]
    assert pins("cpu/f32/t2", "openvino:cpu/f32/t1/s3", "cpu/f32/t1/c5", threads=2) == [[(), (), ()], [(5,)]]


def test_workers_of_pinned_lanes_stay_on_their_cores() -> None:
    assert pins("cpu/f32/t1/c0", "openvino:cpu/f32/t2/c1+2") == [[(0,)], [(1, 2)]]
    assert pins("cpu/f32/t2/c0+1") == [[(0,)]]  # the pool's other thread has the second core
    assert pins("cpu/f32/t1/s2/c0+1") == [[(0,), (1,)]]
    assert pins("cpu/f32/t1/c5", threads=4) == [[(5,)]]  # four callers on one core would only disturb each other


def test_lanes_whose_cores_overlap_take_turns() -> None:
    assert pins("cpu/f32/t1/c0", "openvino:cpu/f32/t1/c1", "openvino:cpu/bf16/t2/c1+2") == [[(0,)], [(1, 2)]]
    assert pins("cpu/f32/t1/c0", "openvino:cpu/f32/t1/c1", "openvino:cpu/bf16/t2/c0+1") == [[(0, 1)]]


def test_streams_of_the_cpu_provider_are_sessions_of_their_own_where_they_would_share_a_pool() -> None:
    def names(lane: str) -> list[str]:
        return [str(copy) for copy in copies_of(Lane.parse(lane))]

    assert names("cpu/f32/t1/s3") == ["cpu/f32/t1"]
    assert names("cpu/f32/t2/s2") == ["cpu/f32/t2", "cpu/f32/t2"]
    assert names("cpu/f32/t2/s2/c0+1+2+3") == ["cpu/f32/t2/c0+1", "cpu/f32/t2/c2+3"]
    assert names("openvino:cpu/f32/t1/s2") == ["openvino:cpu/f32/t1/s2"]


def test_only_lanes_with_something_of_their_own_work_at_once() -> None:
    def at_once(*lanes: str) -> bool:
        return apart(crews_of([Lane.parse(name) for name in lanes]))

    assert at_once("cpu/f32/t1/c0", "openvino:cpu/f32/t1/c1")
    assert at_once("cpu/f32/t2", "webgpu:gpu/f32")
    assert at_once("qnn:npu/f16", "webgpu:gpu/f32")
    assert not at_once("cpu/f32/t2", "openvino:cpu/f32/t2")
    assert not at_once("cpu/f32/t1/c0", "openvino:cpu/f32/t2")
    assert not at_once("cpu/f32/t1/c0+1", "openvino:cpu/f32/t1/c1")


def test_cores_that_cannot_be_had_or_shared_are_refused() -> None:
    with pytest.raises(PlanError, match="core 9, this process may use 0, 1"):
        pins("cpu/f32/t1/c9")
    with pytest.raises(PlanError, match=r"3 cores of .* by 2 streams"):
        pins("cpu/f32/t1/s2/c0+1+2")


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sets(st.integers(0, 7), max_size=4), st.integers(1, 2)), min_size=1)
)
def test_two_workers_never_sit_on_one_core(choices: list[tuple[str, set[int], int]]) -> None:
    lanes = [
        Lane(processor=name, concurrency=Concurrency(cores=tuple(cores), streams=streams))
        for name, cores, streams in choices
        if len(cores) % streams == 0
    ]
    found = crews_of(lanes, threads=2)
    for left, right in combinations([seat for crew in found for seat in crew.seats], 2):
        assert not set(left.cores) & set(right.cores)
    assert {lane for crew in found for lane in crew.lanes} == set(lanes)
