"""Plans as values."""

from __future__ import annotations

from typing import Any

from autotune.core import Candidate, Lane, SplitChoice, StageChoice, serial


def test_a_candidate_says_where_its_gain_would_come_from() -> None:
    one, two = Lane.parse("cpu/f32/t1/c0"), Lane.parse("cpu/f32/t1/c1")
    free, other = Lane.parse("cpu/f32/t2"), Lane.parse("openvino:cpu/f32/t2")
    gpu, npu = Lane.parse("webgpu:gpu/f16"), Lane.parse("qnn:npu")

    def source(*lanes: Lane, serial: bool = True, **more: Any) -> str:
        stages = tuple(StageChoice(start=at, stop=at + 1, lane=lane) for at, lane in enumerate(lanes))
        return Candidate(stages=stages, **more).source(serial=serial)

    assert source(free) == "one session"
    assert source(free, callers=2) == source(free, batch=4) == "streams"
    for lanes in ((one, two), (free, gpu), (one, gpu), (gpu, npu)):  # lanes that can work at the same time
        assert source(*lanes, serial=False) == "parallel lanes"
        assert source(*lanes, callers=3) == "pipeline"
        assert source(*lanes) == "provider, precision or threads per stage"
    for more in ({}, {"callers": 2}, {"serial": False}):  # each of them takes all cores
        assert source(free, other, **more) == "provider, precision or threads per stage"
    whole = StageChoice.of((0, 2), one)
    split = SplitChoice(kernels=(1,), axis=1, shares=(0.5, 0.5))
    parts = tuple(StageChoice.of((1,), lane, part=at) for at, lane in enumerate((one, two)))
    divided = Candidate(stages=(StageChoice.of((0,), one), *parts), splits=(split,))
    assert divided.source(serial=False) == "split"
    assert str(whole) == "2 of 0-3 cpu/f32/t1/c0"
    assert str(parts[1]) == "part 2 of 1-2 cpu/f32/t1/c1"


def test_stages_are_serial_where_each_takes_what_the_one_before_makes() -> None:
    first, second, third = (("x",), ("a",)), (("a",), ("b",)), (("a",), ("c",))
    assert serial([first])
    assert serial([first, second])
    assert not serial([first, second, third])
