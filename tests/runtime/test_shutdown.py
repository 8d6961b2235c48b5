"""However a pipeline ends, nothing hangs and no thread stays."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, as_completed
from typing import Any

import pytest

from autotune.errors import PlanError
from autotune.runtime.pipeline import Pipeline

from .test_pipeline import WAIT_S, step


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + WAIT_S
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert set(threading.enumerate()) <= before


def gate(pipeline_depth: int = 2) -> tuple[Pipeline, threading.Event, threading.Event]:
    begun, go = threading.Event(), threading.Event()

    def slow(value: int) -> int:
        begun.set()
        assert go.wait(WAIT_S)
        return value

    return Pipeline([step(slow, "x", "y")], ["one"], ["y"], depth=pipeline_depth), begun, go


def test_several_threads_may_close_at_once() -> None:
    pipeline, begun, go = gate()
    future = pipeline.submit(None, {"x": 1})
    assert begun.wait(WAIT_S)
    closers = [threading.Thread(target=pipeline.close) for _ in range(3)]
    for closer in closers:
        closer.start()
    go.set()
    for closer in closers:
        closer.join(WAIT_S)
        assert not closer.is_alive()
    assert future.result(WAIT_S) == [1]
    pipeline.close()


def test_who_waits_for_room_is_told_when_the_pipeline_closes() -> None:
    pipeline, _, go = gate(pipeline_depth=1)
    first = pipeline.submit(None, {"x": 1})
    refused: list[BaseException] = []

    def late() -> None:
        try:
            pipeline.submit(None, {"x": 2})
        except PlanError as error:
            refused.append(error)

    waiting, closing = threading.Thread(target=late), threading.Thread(target=pipeline.close)
    waiting.start()
    time.sleep(0.05)
    closing.start()
    waiting.join(WAIT_S)
    assert "closed" in str(refused[0])
    go.set()
    closing.join(WAIT_S)
    assert first.result(WAIT_S) == [1]


def test_a_callback_may_submit_to_a_full_pipeline_and_close_it() -> None:
    pipeline = Pipeline([step(lambda x: x + 1, "x", "y")], ["one"], ["y"], depth=1)
    done = threading.Event()
    seen: list[int] = []

    def again(future) -> None:  # type: ignore[no-untyped-def]
        (value,) = future.result()
        seen.append(value)
        if value < 5:
            pipeline.submit(None, {"x": value}).add_done_callback(again)
        else:
            pipeline.close()
            done.set()

    pipeline.submit(None, {"x": 0}).add_done_callback(again)
    assert done.wait(WAIT_S)
    assert seen == [1, 2, 3, 4, 5]
    with pytest.raises(PlanError, match="closed"):
        pipeline.submit(None, {"x": 0})


def test_a_callback_that_would_wait_for_its_own_worker_is_told_so() -> None:
    pipeline = Pipeline([step(lambda x: x + 1, "x", "y")], ["one"], ["y"], depth=4)
    done = threading.Event()
    said: list[str] = []
    submitted: list[Future[list[Any]]] = []

    def again(future: Future[list[Any]]) -> None:
        new = pipeline.submit(None, {"x": future.result()[0]})
        submitted.append(new)
        for wait in (new.result, new.exception):
            try:
                wait()
            except PlanError as error:
                said.append(str(error))
        with contextlib.suppress(TimeoutError):
            new.result(0.01)
        done.set()

    pipeline.submit(None, {"x": 1}).add_done_callback(again)
    assert done.wait(WAIT_S)
    assert len(said) == 2
    assert "call `run` in the callback" in said[0]
    assert submitted[0].result(WAIT_S) == [3]  # another thread may wait for it
    pipeline.close()


def test_cancelling_makes_room_at_once_and_whoever_waits_learns_of_it() -> None:
    pipeline, begun, go = gate(pipeline_depth=2)
    first, second = (pipeline.submit(None, {"x": value}) for value in (1, 2))
    assert begun.wait(WAIT_S)
    assert second.cancel()
    third = pipeline.submit(None, {"x": 3})  # would wait if the cancelled one still took room
    go.set()
    assert set(as_completed([first, second, third], timeout=WAIT_S)) == {first, second, third}
    with pytest.raises(CancelledError):
        second.result(WAIT_S)
    assert third.result(WAIT_S) == [3]
    pipeline.close()


def test_a_failure_in_one_branch_leaves_the_other_branch_and_other_requests_alone() -> None:
    def picky(value: int) -> int:
        if value % 2:
            raise ValueError(f"{value} is odd")
        return value

    steps = [
        step(lambda x: x, "x", "a"),
        step(picky, "a", "b"),
        step(lambda a: a * 10, "a", "c"),
        step(lambda b, c: b + c, "b c", "y"),
    ]
    pipeline = Pipeline(steps, ["one", "two", "three", "one"], ["y"], threads=2, depth=5)
    futures = [pipeline.submit(None, {"x": value}) for value in range(40)]
    for value, future in enumerate(futures):
        if value % 2:
            with pytest.raises(ValueError, match=f"{value} is odd"):
                future.result(WAIT_S)
        else:
            assert future.result(WAIT_S) == [value * 11]
    pipeline.close()


def test_missing_inputs_and_outputs_fail_their_request_only() -> None:
    pipeline = Pipeline([step(lambda x: x, "x", "y")], ["one"], ["y"])
    with pytest.raises(PlanError, match="'x'"):
        pipeline.submit(None, {"z": 1}).result(WAIT_S)
    with pytest.raises(PlanError, match="no stage makes the output nothing"):
        pipeline.submit(["nothing"], {"x": 1}).result(WAIT_S)
    assert pipeline.submit(None, {"x": 1}).result(WAIT_S) == [1]
    pipeline.close()
    with pytest.raises(PlanError, match="depth of 0"):
        Pipeline([], [], [], depth=0)


def test_a_pipeline_that_is_dropped_ends_its_threads_after_its_requests() -> None:
    pipeline, begun, go = gate()
    futures = [pipeline.submit(None, {"x": value}) for value in range(2)]
    assert begun.wait(WAIT_S)
    del pipeline
    gc.collect()
    go.set()
    assert [future.result(WAIT_S) for future in futures] == [[0], [1]]


def test_the_interpreter_ends_after_the_requests_under_way() -> None:
    code = """
import time
from tests.runtime.test_pipeline import step
from autotune.runtime.pipeline import Pipeline
def slow(x):
    time.sleep(0.2)
    print("done", x, flush=True)
    return x
pipeline = Pipeline([step(slow, "x", "y")], ["one"], ["y"])
pipeline.submit(None, {"x": 1})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["done", "1"]
    assert done.stderr == ""
