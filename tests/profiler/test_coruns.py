"""Co-runs: both directions of every pair, or why not; nothing hangs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.core import CoRunMeasurement, Failure, FailureKind, Kernel, Lane
from autotune.errors import UsageError
from autotune.processors import allowed_cores
from autotune.profiler import CoRunPair, CoRunResult, Side, measure_coruns
from autotune.profiler.coruns import corun_here, together
from autotune.profiler.probes import reference_kernel

two_cores = pytest.mark.skipif(len(allowed_cores()) < 2, reason="two lanes need two cores")
SMALL, LARGER = reference_kernel(4, 8), reference_kernel(64, 32)  # thousands of times the work


def lane(core: int = 0) -> Lane:
    return Lane.parse(f"cpu/f32/t1/c{allowed_cores()[core]}")


def side(kernel: Kernel = SMALL, core: int = 0) -> Side:
    return Side(kernels=(kernel,), lane=lane(core))


def measured(*pairs: CoRunPair, deadline_s: float = 120.0) -> dict[int, CoRunResult]:
    found: dict[int, CoRunResult] = {}
    measure_coruns(pairs, rounds=3, round_s=0.001, deadline_s=deadline_s, on_result=found.__setitem__)
    return found


@two_cores
def test_a_pair_is_measured_in_both_directions_and_a_broken_one_costs_itself_only() -> None:
    wrong = replace(SMALL, nodes=(replace(SMALL.nodes[0], op_type="NoSuchOperator"), SMALL.nodes[1]))
    good = CoRunPair(first=side(SMALL), second=side(LARGER, 1))
    broken, second, streams = measured(
        CoRunPair(first=side(SMALL), second=side(wrong, 1)),
        good,
        CoRunPair(
            first=Side(kernels=(SMALL,), lane=Lane.parse("cpu/f32/t1/s2")),
            second=Side(kernels=(LARGER,), lane=Lane.parse("cpu/f32/t1/s2")),
        ),
    ).values()
    assert isinstance(broken, Failure)
    for result in (second, streams):
        assert not isinstance(result, Failure)
        assert [isinstance(one, CoRunMeasurement) and len(one.beside_us) for one in result] == [3, 3]
        assert result[1].alone_median_us > result[0].alone_median_us  # which is which, far apart on any machine


@two_cores
def test_lanes_that_would_take_turns_are_refused() -> None:
    with pytest.raises(UsageError, match="share cores"):
        CoRunPair(first=side(), second=Side(kernels=(SMALL,), lane=replace(lane(), processor="openvino:cpu")))
    with pytest.raises(UsageError, match="one stream"):
        CoRunPair(first=side(), second=side(LARGER))


def test_several_kernels_need_a_file() -> None:
    with pytest.raises(UsageError, match="2 kernels"):
        Side(kernels=(SMALL, LARGER), lane=lane())


@two_cores
def test_what_brings_the_worker_down_fails_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CoRunMeasurement(alone_us=(1.0,), beside_us=(1.5,))

    class Dying:
        left = 1

        def __enter__(self) -> Dying:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def stream(self, _function: object, waiting: list[object], *_: object, **__: object):  # type: ignore[no-untyped-def]
            if self.left:
                self.left -= 1
                yield ("running", 0)
                yield ("result", 0, (result, result))
                yield ("running", 1)
                yield Failure(kind=FailureKind.CRASH, message="killed by signal SIGSEGV (11)")
                return
            for at in range(len(waiting)):
                yield ("result", at, (result, result))

    monkeypatch.setattr("autotune.profiler.coruns.Worker", Dying)
    found = measured(*[CoRunPair(first=side(), second=side(LARGER, 1))] * 4)
    assert [isinstance(found[at], Failure) for at in range(4)] == [False, True, False, False]


@two_cores
def test_nothing_begins_that_the_deadline_leaves_no_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = CoRunPair(first=side(), second=side(LARGER, 1))
    assert measured(pair, deadline_s=0.0) == {}
    result = CoRunMeasurement(alone_us=(1.0,), beside_us=(1.5,))
    monkeypatch.setattr("autotune.profiler.coruns._measure", lambda *_: (result, result))
    assert [item[0] for item in corun_here([pair] * 3, 1, 0.1, 0, 0.0)] == ["running", "result", "late"]


def test_only_runs_that_had_company_count() -> None:
    runs = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    assert together(runs, 1.0, 3.05) == [(1.0, 2.0), (2.0, 3.0)]
    assert together(runs, 2.4, 3.5) == [(2.0, 3.0)]  # none wholly: the one that had most


def test_bursts_of_other_work_do_not_count_as_slowdown() -> None:
    found = CoRunMeasurement(alone_us=(10.0, 10.0, 10.0, 90.0, 10.0), beside_us=(12.0, 70.0, 12.0, 12.0, 80.0))
    assert found.slowdown == pytest.approx(1.2)
    assert found.interval.low <= 1.2 <= found.interval.high
    with pytest.raises(ValueError, match="in pairs"):
        CoRunMeasurement(alone_us=(1.0, 2.0), beside_us=(1.0,))
