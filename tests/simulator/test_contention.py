"""Slowdowns of kernels become those of lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autotune.core import Kernel, KernelNode, Lane, TensorSpec
from autotune.errors import UsageError
from autotune.predictor import Load
from autotune.simulator import SlowdownTable, StagedPlan, offline, slowdowns

ONE, TWO = Lane.parse("cpu/f32/t1/c0"), Lane.parse("openvino:cpu/f32/t1/c1")


def kernel(size: int) -> Kernel:
    tensor = [TensorSpec(name=name, dtype="float32", shape=(size,)) for name in ("i0", "o0")]
    node = KernelNode(op_type="Relu", inputs=("i0",), outputs=("o0",))
    return Kernel(
        family="elementwise", nodes=(node,), inputs=(tensor[0],), outputs=(tensor[1],), opset=17, flops=size
    )  # fmt: skip


class Known:
    """Kernel k is slowed by 1 + (k + 1) · (j + 1) / 10 beside kernel j; sizes are positions plus one."""

    calls = 0

    def table(self, victims: list[Load], _: Lane, besides: list[Load], __: Lane) -> Any:
        self.calls += 1
        one, two = (np.array([load.kernels[0].flops for load in side]) for side in (victims, besides))
        return 1 + np.outer(one, two) / 10


@pytest.fixture
def table() -> SlowdownTable:
    latency = {ONE: np.array([1.0, 3.0, 5.0]), TWO: np.array([2.0, 2.0, np.inf])}
    return SlowdownTable([kernel(at + 1) for at in range(3)], latency, Known())  # type: ignore[arg-type]


def test_the_mean_is_weighted_by_time_on_both_sides(table: SlowdownTable) -> None:
    # kernels 0 and 1 take 1 and 3 µs on the first lane, beside 0 (2 µs) and 1 (2 µs)
    expected = sum(own * other * (1 + i * j / 10) for own, i in ((1, 1), (3, 2)) for other, j in ((2, 1), (2, 2))) / 16
    assert table.slowdown([0, 1], ONE, [0, 1], TWO) == pytest.approx(expected)
    assert table.slowdown([1], ONE, [0], TWO) == pytest.approx(1.2)
    assert table.slowdown([1], ONE, [], TWO) == 1.0


def test_a_kernel_that_cannot_run_there_weighs_nothing(table: SlowdownTable) -> None:
    assert table.slowdown([0], ONE, [0, 2], TWO) == pytest.approx(1.1, abs=1e-3)


def test_every_pair_of_lanes_has_its_slowdown_and_only_a_lane_with_streams_one_with_itself(
    table: SlowdownTable,
) -> None:
    stages = [[0], [1], [0]]
    found = slowdowns(table, stages, [0, 1, 1], [ONE, TWO])
    assert set(found) == {(0, 1), (1, 0)}
    assert found[1, 0] == pytest.approx(1.15)  # kernels 1 and 0 take as long as each other there
    streams = slowdowns(table, stages, [0, 1, 1], [ONE, TWO], streams=[2, 1])
    assert set(streams) == {(0, 0), (0, 1), (1, 0)}
    assert streams[0, 0] == pytest.approx(1.1)


def test_it_is_what_the_simulation_takes(table: SlowdownTable) -> None:
    lane = (0, 1)
    corun = slowdowns(table, [[1], [0]], lane, [ONE, TWO])
    calm, slow = (
        offline([StagedPlan(stage_us=(30.0, 30.0), lane=lane, corun=given)], requests=200).throughput_per_s[0]
        for given in (None, corun)
    )
    assert slow == pytest.approx(calm / 1.2, rel=0.02)


def test_pairs_of_lanes_are_predicted_once(table: SlowdownTable) -> None:
    for _ in range(5):
        slowdowns(table, [[0], [1]], [0, 1], [ONE, TWO])
    assert table.predictor.calls == 2  # type: ignore[attr-defined]


def test_a_lane_without_latencies_is_named(table: SlowdownTable) -> None:
    with pytest.raises(UsageError, match="openvino:cpu/bf16"):
        slowdowns(table, [[0], [1]], [0, 1], [ONE, Lane.parse("openvino:cpu/bf16")])
