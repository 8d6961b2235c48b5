"""Plans as values."""

from __future__ import annotations

from autotune.core import Candidate, Lane, SplitChoice, StageChoice


def test_a_candidate_says_where_its_gain_would_come_from() -> None:
    one, two = Lane.parse("cpu/f32/t1/c0"), Lane.parse("cpu/f32/t1/c1")
    free, other = Lane.parse("cpu/f32/t2"), Lane.parse("openvino:cpu/f32/t2")

    def source(*lanes: Lane, **more: object) -> str:
        stages = tuple(StageChoice(start=at, stop=at + 1, lane=lane) for at, lane in enumerate(lanes))
        return Candidate(stages=stages, **more).source  # type: ignore[arg-type]

    assert source(free) == "one session"
    assert source(free, callers=2) == source(free, batch=4) == "streams"
    assert source(free, other) == "provider, precision or threads per stage"
    assert source(one, two) == "parallel lanes"
    assert source(one, two, callers=3) == "pipeline"
    whole = StageChoice.of((0, 2), one)
    assert Candidate(stages=(whole, StageChoice.of((1,), two))).source == "parallel lanes"
    split = SplitChoice(kernels=(1,), axis=1, shares=(0.5, 0.5))
    parts = tuple(StageChoice.of((1,), lane, part=at) for at, lane in enumerate((one, two)))
    assert Candidate(stages=(StageChoice.of((0,), one), *parts), splits=(split,)).source == "split"
    assert str(whole) == "2 of 0-3 cpu/f32/t1/c0"
    assert str(parts[1]) == "part 2 of 1-2 cpu/f32/t1/c1"
