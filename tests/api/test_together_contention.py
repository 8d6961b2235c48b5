"""What models do to each other, from co-runs of an invented device."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from autotune.api import together_contention
from autotune.api.run import Contender, Run
from autotune.api.together_contention import ModelContention, ModelTimes, contention_of
from autotune.api.together_run import JointRun
from autotune.core import (
    Candidate,
    CoRunMeasurement,
    CoRunRecord,
    Identity,
    Kernel,
    KernelNode,
    Lane,
    Measurement,
    Notes,
    Precision,
    Protocol,
    SplitChoice,
    StageChoice,
    TensorSpec,
)
from autotune.planning import Option
from autotune.planning.costs import Floats
from autotune.predictor import Load, SlowdownPredictor

ONE, TWO = Lane.parse("cpu/f32/t1"), Lane.parse("cpu/f32/t2")
GPU = Lane.parse("webgpu:gpu")


def kernel(size: int) -> Kernel:
    tensor = [TensorSpec(name=name, dtype="float32", shape=(size,)) for name in ("i0", "o0")]
    node = KernelNode(op_type="Relu", inputs=("i0",), outputs=("o0",))
    return Kernel(family="elementwise", nodes=(node,), inputs=(tensor[0],), outputs=(tensor[1],), opset=17, flops=size)


ASKED: list[tuple[str, str]] = []


class Known:
    """On the CPU kernel k is slowed by 1 + k · j / 10 beside kernel j; sizes are 1, 2, …; lanes are remembered."""

    def knows(self, victim: Lane, beside: Lane) -> bool:
        return victim.on_cpu and beside.on_cpu

    def table(self, victims: Sequence[Load], victim_lane: Lane, besides: Sequence[Load], beside_lane: Lane) -> Floats:
        ASKED.append((str(victim_lane), str(beside_lane)))
        one, two = (np.array([load.kernels[0].flops for load in side]) for side in (victims, besides))
        found: Floats = 1 + np.outer(one, two) / 10
        return found


@pytest.fixture
def contention() -> ModelContention:
    ASKED.clear()
    kernels = tuple(kernel(at + 1) for at in range(3))
    first = ModelTimes(
        kernels=kernels,
        kernel_us={TWO: np.array([1.0, 3.0, 4.0])},
        whole_us={("cpu", Precision.F32, 1): 12.0, ("cpu", Precision.F32, 2): 8.0},
    )
    second = ModelTimes(kernels=kernels[:1], kernel_us={ONE: np.array([5.0]), GPU: np.array([2.0])}, whole_us={})
    return ModelContention(cast("SlowdownPredictor", Known()), [first, second])


def option(*stages: StageChoice, callers: int = 1, splits: tuple[SplitChoice, ...] = ()) -> Option:
    return Option(candidate=Candidate(stages=stages, callers=callers, splits=splits), each_us=10.0)


WHOLE = option(StageChoice(start=0, stop=3, lane=ONE))
SMALL = option(StageChoice(start=0, stop=1, lane=ONE))


def test_a_models_slowdown_is_the_mean_over_its_kernels_by_time(contention: ModelContention) -> None:
    expected = (1 * 1.1 + 3 * 1.2 + 4 * 1.3) / 8
    assert contention(0, WHOLE, 1, SMALL) == pytest.approx(expected)
    assert contention(1, SMALL, 0, WHOLE) == pytest.approx(expected)
    assert ASKED == [("cpu/f32/t1/c0", "cpu/f32/t1/c1")] * 2  # apart, as contention is profiled


def test_each_pair_is_predicted_once(contention: ModelContention) -> None:
    for _ in range(3):
        contention(0, WHOLE, 1, SMALL)
    contention(0, option(StageChoice(start=0, stop=2, lane=ONE)), 1, SMALL)  # another option, the same lanes
    assert len(ASKED) == 1


def test_times_of_another_number_of_threads_are_scaled_as_the_whole_model_is() -> None:
    times = ModelTimes(
        kernels=(kernel(1),),
        kernel_us={TWO: np.array([4.0])},
        whole_us={("cpu", Precision.F32, 1): 12.0, ("cpu", Precision.F32, 2): 8.0},
    )
    assert times.on(ONE) == pytest.approx(6.0)
    assert times.on(TWO) == pytest.approx(4.0)
    assert times.on(GPU) is None


def test_what_was_never_measured_together_is_not_known(contention: ModelContention) -> None:
    assert contention(0, WHOLE, 1, option(StageChoice(start=0, stop=1, lane=GPU))) is None
    assert contention(0, option(StageChoice(start=0, stop=3, lane=GPU)), 1, SMALL) is None
    assert not ASKED


def test_each_caller_of_the_neighbour_disturbs(contention: ModelContention) -> None:
    one = contention(0, WHOLE, 1, SMALL)
    two = contention(0, WHOLE, 1, option(StageChoice(start=0, stop=1, lane=ONE), callers=2))
    assert one is not None
    assert two == pytest.approx(one**2)


def test_a_divided_chain_counts_by_its_parts_and_joining_as_no_work(contention: ModelContention) -> None:
    split = SplitChoice(kernels=(2,), axis=1, shares=(0.75, 0.25))
    parts = [StageChoice.of((2,), lane, part=part) for part, lane in enumerate((ONE, TWO, ONE))]
    divided = option(StageChoice(start=0, stop=2, lane=ONE), *parts, splits=(split,))
    # one thread takes 1.5 times as long as two: 1.5, 4.5 and 0.75 of 6 µs there, 0.25 of 4 µs here
    expected = (1.5 * 1.1 + 4.5 * 1.2 + 4.5 * 1.3 + 1.0 * 1.3) / 11.5
    assert contention(0, divided, 1, SMALL) == pytest.approx(expected)


def test_whole_models_and_kernels_are_taken_from_the_search() -> None:
    def contender(lane: Lane, us: float, callers: int = 1) -> Contender:
        candidate = Candidate(stages=(StageChoice(start=0, stop=1, lane=lane),), callers=callers)
        return Contender(name=str(lane), job=None, candidate=candidate, result=Measurement(samples_us=(us,)))  # type: ignore[arg-type]

    singles = [contender(TWO, 5.0, callers=2), contender(ONE, 12.0), contender(Lane.parse("cpu/f32/t1/nospin"), 13.0)]
    graph = SimpleNamespace(kernels=[SimpleNamespace(kernel=kernel(1))])
    run = SimpleNamespace(singles=lambda: singles, task=SimpleNamespace(graph=graph), kernel_us={ONE: np.array([11.0])})
    times = ModelTimes.of(cast("Run", run))
    assert times.whole_us == {("cpu", Precision.F32, 2): 10.0, ("cpu", Precision.F32, 1): 12.0}
    assert times.on(TWO) == pytest.approx(11.0 * 10 / 12)


def test_a_device_without_co_runs_has_no_contention_and_one_with_some_has(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = Lane.parse("cpu/f32/t1/c0"), Lane.parse("cpu/f32/t1/c1")
    record = CoRunRecord(
        victim=(kernel(9),), victim_lane=lanes[0], beside=(kernel(7),), beside_lane=lanes[1],
        result=CoRunMeasurement(alone_us=(10.0,) * 3, beside_us=(13.0,) * 3),
        identity=Identity(device="d", provider="p", runtime="r", protocol=Protocol.CO_RUN),
        notes=Notes(time="2026-01-01T00:00:00Z", code_version="0"),
    )  # fmt: skip
    joint = SimpleNamespace(
        place=None, settings=SimpleNamespace(seed=0), members=[SimpleNamespace(run=SimpleNamespace(store=None))]
    )
    monkeypatch.setattr(ModelTimes, "of", staticmethod(lambda _: ModelTimes(kernels=(), kernel_us={}, whole_us={})))
    for records in ([], [record] * 5):
        learnt = SlowdownPredictor.fit(records)
        monkeypatch.setattr(together_contention, "slowdown_predictor", lambda *_, learnt=learnt, **__: learnt)
        found = contention_of(cast("JointRun", joint))
        assert (found is not None) == bool(records)
        assert learnt.knows(*lanes) == bool(records)
        assert not learnt.knows(lanes[0], GPU)
        assert not learnt.knows(lanes[0], Lane.parse("openvino:cpu"))
