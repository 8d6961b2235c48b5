"""Real sessions on several lanes, in branches and in streams."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from autotune.core import Lane
from autotune.errors import PlanError
from autotune.processors import allowed_cores, create_session
from autotune.runtime import StageRunner, Together
from autotune.runtime.pipeline import Pipeline

from .test_pipeline import step

WAIT_S = 20.0
TWO_CORES = pytest.mark.skipif(
    len(allowed_cores()) < 2 or sys.platform != "linux", reason="needs two cores that can be pinned"
)
X = {"x": np.full((1, 4), 3, np.float32)}


def save(folder: Path, name: str, kind: str, inputs: list[str], output: str) -> Path:
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in (*inputs, output)}
    node = helper.make_node(kind, inputs, [output])
    graph = helper.make_graph([node], name, [values[n] for n in inputs], [values[output]])
    path = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@pytest.fixture
def branches(tmp_path: Path) -> list[Path]:
    """y = -|x| + x²."""
    return [
        save(tmp_path, "stem", "Abs", ["x"], "a"),
        save(tmp_path, "left", "Neg", ["a"], "b"),
        save(tmp_path, "right", "Mul", ["a", "x"], "c"),
        save(tmp_path, "join", "Add", ["b", "c"], "y"),
    ]


def lanes(*names: str) -> list[Lane]:
    return [Lane.parse(name) for name in names]


@TWO_CORES
def test_run_puts_branches_on_their_lanes(branches: list[Path]) -> None:
    first, second = (f"cpu/f32/t1/c{core}" for core in allowed_cores()[:2])
    chosen = lanes(first, first, second, first)
    runner = StageRunner(list(zip(branches, chosen, strict=True)), ["y"])
    before = threading.active_count()
    assert runner.run(None, X)[0].tolist() == [[6] * 4]
    assert threading.active_count() == before + 2
    assert runner.run(["c", "y"], X)[0].tolist() == [[9] * 4]
    assert runner.queue().submit(None, X).result(WAIT_S)[0].tolist() == [[6] * 4]
    assert threading.active_count() == before + 2  # the same workers
    runner.close()
    assert threading.active_count() == before
    with pytest.raises(PlanError, match="closed"):
        runner.run(None, X)
    with pytest.raises(PlanError, match="closed"):
        runner.queue()


@pytest.mark.parametrize("submitted_first", [True, False])
@pytest.mark.parametrize(("second", "workers"), [("webgpu:gpu", 2), ("cpu/f32/t1", 3)])
def test_what_is_submitted_to_several_models_has_the_workers_it_was_measured_with(
    branches: list[Path], second: str, workers: int, submitted_first: bool
) -> None:
    """Beside a GPU, which is not here, a worker per lane runs the branches; else callers run them in a row."""

    def create(path: Path, _lane: Lane, **_: object) -> ort.InferenceSession:
        return create_session(path, Lane.parse("cpu/f32/t1"))

    chosen = lanes("cpu/f32/t1", "cpu/f32/t1", second, "cpu/f32/t1")
    runner = StageRunner(list(zip(branches, chosen, strict=True)), ["y"], create=create)
    together = Together({"m": runner}, callers={"m": 3})
    calls: list[Callable[[], list[Any]]] = [
        lambda: together.submit("m", None, X).result(WAIT_S),
        lambda: together.run("m", None, X),
    ]
    for call in calls if submitted_first else calls[::-1]:
        assert call()[0].tolist() == [[6] * 4]
    assert runner.queue().depth == 2 * workers
    together.close()


def test_a_chain_needs_no_threads(branches: list[Path]) -> None:
    chosen = lanes("cpu/f32/t1", "cpu/f32/t1/spin")
    runner = StageRunner(list(zip(branches[:2], chosen, strict=True)), ["b"])
    before = threading.active_count()
    assert runner.run(None, X)[0].tolist() == [[-3] * 4]
    assert threading.active_count() == before
    runner.close()


@pytest.mark.parametrize("lane", ["cpu/f32/t2/s2", "cpu/f32/t1/s2", f"cpu/f32/t1/s1/c{allowed_cores()[0]}"])
def test_streams_give_what_one_session_gives(branches: list[Path], lane: str) -> None:
    runner = StageRunner([(path, Lane.parse(lane)) for path in branches], ["y"])
    feeds = [{"x": np.full((1, 4), value, np.float32)} for value in range(20)]
    wanted = [[[value * value - value] * 4] for value in range(20)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda feed: runner.run(None, feed)[0].tolist(), feeds))
    assert found == wanted
    pipeline = runner.pipeline()
    futures = [pipeline.submit(None, feed) for feed in feeds]
    assert [future.result(WAIT_S)[0].tolist() for future in futures] == wanted
    pipeline.close()
    runner.close()


@TWO_CORES
def test_workers_of_pinned_streams_run_on_their_own_cores() -> None:
    first, second, *_ = allowed_cores()
    meet = threading.Barrier(2, timeout=WAIT_S)

    def where(_: int) -> tuple[int, ...]:
        meet.wait()  # both workers are here
        return allowed_cores()

    pipeline = Pipeline([step(where, "x", "y")], [Lane.parse(f"cpu/f32/t1/s2/c{first}+{second}")], ["y"])
    futures = [pipeline.submit(None, {"x": at}) for at in range(2)]
    assert {future.result(WAIT_S)[0] for future in futures} == {(first,), (second,)}
    pipeline.close()
    assert allowed_cores()[:2] == (first, second)  # the caller's own thread is where it was


class Where:
    """A session that gives the cores of the thread that runs it, once as many as `meet` wants run at the same time."""

    def __init__(self, meet: threading.Barrier) -> None:
        self._meet = meet

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x")]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="y")]

    def run(self, *_: object) -> list[Any]:
        self._meet.wait()
        return [allowed_cores()]


@TWO_CORES
@pytest.mark.parametrize("processor", ["cpu", "openvino:CPU"])
def test_run_of_pinned_streams_is_on_their_cores_whoever_calls(processor: str) -> None:
    first, second, *_ = allowed_cores()
    meet = threading.Barrier(2, timeout=WAIT_S)
    lane = Lane.parse(f"{processor}/f32/t1/s2/c{first}+{second}")
    runner = StageRunner([("m.onnx", lane)], ["y"], create=lambda *_, **__: Where(meet))
    with ThreadPoolExecutor(4) as pool:
        found = [cores for (cores,) in pool.map(lambda _: runner.run(None, {"x": 1}), range(8))]
    assert set(found) == {(first,), (second,)}
    assert allowed_cores()[:2] == (first, second)
    runner.close()


@TWO_CORES
def test_run_of_one_pinned_lane_is_on_its_core() -> None:
    _, second, *_ = allowed_cores()
    meet = threading.Barrier(1, timeout=WAIT_S)
    runner = StageRunner([("m.onnx", Lane.parse(f"cpu/f32/t1/c{second}"))], ["y"], create=lambda *_, **__: Where(meet))
    assert runner.run(None, {"x": 1}) == [(second,)]
    runner.close()


@TWO_CORES
def test_a_callback_may_run_the_plan_whose_worker_it_is_in(branches: list[Path]) -> None:
    first, second = (f"cpu/f32/t1/c{core}" for core in allowed_cores()[:2])
    runner = StageRunner(list(zip(branches, lanes(first, first, second, first), strict=True)), ["y"])
    done = threading.Semaphore(0)
    seen: list[list[list[float]]] = []

    def again(_: object) -> None:
        seen.append(runner.run(None, X)[0].tolist())
        done.release()

    runner.queue().submit(None, X).add_done_callback(again)
    runner.queue().submit(["nothing"], X).add_done_callback(again)
    assert all(done.acquire(timeout=WAIT_S) for _ in range(2))
    runner.close()
    assert seen == [[[6] * 4]] * 2


def test_a_plan_pinned_to_cores_of_another_machine_says_so(branches: list[Path]) -> None:
    far = max(allowed_cores()) + 1000
    with pytest.raises(PlanError, match=f"{far}"):
        StageRunner([(branches[0], Lane.parse(f"cpu/f32/t1/c{far}"))], ["a"])
