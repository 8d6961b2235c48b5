"""Requests that overlap: same outputs, stages at the same time, failures that stay with their request, clean ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.core import Lane
from autotune.errors import PlanError
from autotune.runtime import StageRunner, load_plan
from autotune.runtime.pipeline import Pipeline
from autotune.runtime.request import Step

WAIT_S = 20.0


class Fake:
    """A session that applies a function to its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Any], options: Any = None, /) -> list[Any]:
        return [self.function(*feeds.values()) for _ in output_names]


def step(function: Callable[..., Any], takes: str, gives: str) -> Step:
    return Fake(function), takes.split(), gives.split()


def test_submitted_requests_give_what_run_gives(plan_folder: Path) -> None:
    feeds = [{"in.put": np.full((1, 8), value, np.float32)} for value in range(40)]
    with load_plan(plan_folder) as plan:
        wanted = [plan.run(None, feed) for feed in feeds]
        futures = [plan.submit(None, feed) for feed in feeds]
        for one, future in zip(wanted, futures, strict=True):
            for left, right in zip(one, future.result(WAIT_S), strict=True):
                np.testing.assert_array_equal(left, right)
        (only,) = plan.submit(["z"], feeds[3]).result(WAIT_S)
        np.testing.assert_array_equal(only, plan.run(["z"], feeds[3])[0])
        with pytest.raises(PlanError, match="inputs must be"):
            plan.submit(None, {})
    with pytest.raises(PlanError, match="closed"):
        plan.submit(None, feeds[0])


def test_no_thread_outlives_the_plan(plan_folder: Path) -> None:
    before = set(threading.enumerate())
    plan = load_plan(plan_folder)
    future = plan.submit(None, {"in.put": np.zeros((1, 8), np.float32)})
    plan.close()
    assert future.done()
    assert set(threading.enumerate()) == before


def test_branches_on_two_lanes_run_at_the_same_time() -> None:
    meet = threading.Barrier(2, timeout=WAIT_S)

    def branch(value: int) -> int:
        meet.wait()
        return value + 1

    steps = [
        step(lambda x: x, "x", "a"),
        step(branch, "a", "b"),
        step(branch, "a", "c"),
        step(lambda b, c: b + c, "b c", "y"),
    ]
    pipeline = Pipeline(steps, ["one", "one", "two", "two"], ["y"])
    assert pipeline.submit(None, {"x": 1}).result(WAIT_S) == [4]
    pipeline.close()


def test_consecutive_requests_overlap() -> None:
    meet = threading.Barrier(2, timeout=WAIT_S)

    def first(value: int) -> int:
        if value == 2:
            meet.wait()
        return value

    def second(value: int) -> int:
        if value == 1:
            meet.wait()
        return value

    pipeline = Pipeline([step(first, "x", "a"), step(second, "a", "y")], ["one", "two"], ["y"])
    futures = [pipeline.submit(None, {"x": value}) for value in (1, 2, 3)]
    assert [future.result(WAIT_S) for future in futures] == [[1], [2], [3]]
    pipeline.close()


def test_a_failure_stays_with_its_request() -> None:
    def picky(value: int) -> int:
        if value == 2:
            raise ValueError("two is too much")
        return value

    pipeline = Pipeline([step(picky, "x", "a"), step(lambda a: a, "a", "y")], ["one", "two"], ["y"], depth=2)
    futures = [pipeline.submit(None, {"x": value}) for value in (1, 2, 3, 4, 5)]
    with pytest.raises(ValueError, match="two is too much"):
        futures[1].result(WAIT_S)
    assert [futures[at].result(WAIT_S) for at in (0, 2, 3, 4)] == [[1], [3], [4], [5]]
    pipeline.close()


def test_a_request_that_nothing_has_begun_can_be_cancelled() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(value: int) -> int:
        begun.set()
        assert go.wait(WAIT_S)
        return value

    pipeline = Pipeline([step(slow, "x", "y")], ["one"], ["y"], depth=3)
    first, second = pipeline.submit(None, {"x": 1}), pipeline.submit(None, {"x": 2})
    assert begun.wait(WAIT_S)
    assert second.cancel()
    assert not first.cancel()
    go.set()
    assert first.result(WAIT_S) == [1]
    with pytest.raises(CancelledError):
        second.result(WAIT_S)
    assert [pipeline.submit(None, {"x": value}).result(WAIT_S) for value in range(6)] == [[v] for v in range(6)]
    pipeline.close()


def test_submit_waits_when_the_pipeline_is_full() -> None:
    go = threading.Event()

    def slow(value: int) -> int:
        assert go.wait(WAIT_S)
        return value

    pipeline = Pipeline([step(slow, "x", "y")], ["one"], ["y"], depth=2)
    submitted: list[int] = []

    def producer() -> None:
        for value in range(5):
            pipeline.submit(None, {"x": value})
            submitted.append(value)

    thread = threading.Thread(target=producer)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert len(submitted) == 2
    go.set()
    thread.join(WAIT_S)
    assert len(submitted) == 5
    pipeline.close()


def test_several_threads_of_one_lane_work_together() -> None:
    meet = threading.Barrier(3, timeout=WAIT_S)

    def together(value: int) -> int:
        meet.wait()
        return value

    pipeline = Pipeline([step(together, "x", "y")], ["one"], ["y"], threads=3)
    futures = [pipeline.submit(None, {"x": value}) for value in range(3)]
    assert [future.result(WAIT_S) for future in futures] == [[0], [1], [2]]
    pipeline.close()


def test_intermediate_tensors_are_let_go() -> None:
    seen: list[set[str]] = []

    class Spy(Fake):
        def run(self, output_names: Sequence[str], feeds: Mapping[str, Any], options: Any = None, /) -> list[Any]:
            seen.append(set(feeds))
            return super().run(output_names, feeds, options)

    steps: list[Step] = [
        (Spy(lambda x: x), ["x"], ["a"]),
        (Spy(lambda a: a), ["a"], ["b"]),
        (Spy(lambda b: b), ["b"], ["y"]),
    ]
    pipeline = Pipeline(steps, ["one", "two", "one"], ["y"])
    assert pipeline.submit(None, {"x": 7}).result(WAIT_S) == [7]
    assert seen == [{"x"}, {"a"}, {"b"}]
    pipeline.close()


def test_two_makers_of_one_tensor_are_refused() -> None:
    with pytest.raises(PlanError, match="'a'"):
        Pipeline([step(lambda x: x, "x", "a"), step(lambda x: x, "x", "a")], ["one", "one"], ["a"])


def test_a_real_stage_that_fails_in_the_middle_fails_its_request_only(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.arange(8, dtype=np.float32), "table")
    parts = [
        (helper.make_node("Identity", ["at"], ["index"]), TensorProto.INT64, TensorProto.INT64, []),
        (helper.make_node("Gather", ["table", "index"], ["value"]), TensorProto.INT64, TensorProto.FLOAT, [table]),
        (helper.make_node("Neg", ["value"], ["y"]), TensorProto.FLOAT, TensorProto.FLOAT, []),
    ]
    files = []
    for number, (node, takes, gives, weights) in enumerate(parts):
        ends = [helper.make_tensor_value_info(node.input[-1], takes, [1])]
        graph = helper.make_graph(
            [node], "part", ends, [helper.make_tensor_value_info(node.output[0], gives, [1])], weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(tmp_path / f"{number}.onnx"))
        files.append((tmp_path / f"{number}.onnx", Lane.parse(f"cpu/f32/t{1 + number % 2}")))
    before = set(threading.enumerate())
    runner = StageRunner(files, ["y"])
    futures = [runner.queue().submit(None, {"at": np.array([at])}) for at in (3, 99, 5)]
    assert [float(futures[at].result(WAIT_S)[0][0]) for at in (0, 2)] == [-3.0, -5.0]
    with pytest.raises(Exception, match="99"):
        futures[1].result(WAIT_S)
    with pytest.raises(Exception, match="99"):
        runner.run(None, {"at": np.array([99])})
    runner.close()
    assert set(threading.enumerate()) == before
