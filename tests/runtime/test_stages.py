"""Stages one after the other."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotune.core import Lane
from autotune.errors import PlanError
from autotune.processors import SessionSpec
from autotune.runtime import StageRunner
from autotune.runtime.stages import calm

LANE = Lane.parse("cpu/f32/t1")


class FakeSession:
    """Adds 1 to what it takes; remembers what it was fed and made."""

    def __init__(self, takes: tuple[str, ...], gives: tuple[str, ...]) -> None:
        self._takes, self._gives = takes, gives
        self.made: list[weakref.ref[Any]] = []
        self.alive: Callable[[], int] = lambda: 0
        self.alive_before = -1

    def get_inputs(self) -> list[Any]:
        return [_Name(name) for name in self._takes]

    def get_outputs(self) -> list[Any]:
        return [_Name(name) for name in self._gives]

    def run(self, names: Any, feeds: Any, options: Any = None) -> list[Any]:
        gc.collect()
        self.alive_before = self.alive()
        assert set(feeds) == set(self._takes)
        found = [next(iter(feeds.values())) + 1 for _ in self._gives]
        self.made = [weakref.ref(array) for array in found]
        return found


class _Name:
    def __init__(self, name: str) -> None:
        self.name = name


def test_stages_give_what_the_whole_model_gives(files: Path, feeds: dict[str, np.ndarray]) -> None:
    whole = StageRunner([(files / "whole.onnx", LANE)], ["y", "z"]).run(None, feeds)
    staged = StageRunner([(files / "stage0.onnx", LANE), (files / "stage1.onnx", LANE)], ["y", "z"]).run(None, feeds)
    for left, right in zip(whole, staged, strict=True):
        np.testing.assert_array_equal(left, right)


def test_outputs_may_be_any_tensor_that_a_stage_makes(
    files: Path, feeds: dict[str, np.ndarray], expected: list[np.ndarray]
) -> None:
    runner = StageRunner([(files / "stage0.onnx", LANE), (files / "stage1.onnx", LANE)], ["h", "y"])
    hidden, y = runner.run(None, feeds)
    np.testing.assert_allclose(hidden, -expected[1], rtol=1e-5)
    np.testing.assert_allclose(y, expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stages", [("whole.onnx",), ("stage0.onnx", "stage1.onnx")])
def test_names_choose_and_order_the_outputs(
    files: Path, stages: tuple[str, ...], feeds: dict[str, np.ndarray], expected: list[np.ndarray]
) -> None:
    runner = StageRunner([(files / name, LANE) for name in stages], ["y", "z"])
    z, y = runner.run(["z", "y"], feeds)
    np.testing.assert_allclose(y, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(z, expected[1], rtol=1e-4, atol=1e-5)


def test_an_output_that_no_stage_makes_is_refused(files: Path) -> None:
    with pytest.raises(PlanError, match="no stage makes the output nothing; they make"):
        StageRunner([(files / "whole.onnx", LANE)], ["nothing"])


def test_a_missing_input_is_named(files: Path) -> None:
    runner = StageRunner([(files / "stage0.onnx", LANE), (files / "stage1.onnx", LANE)], ["y"])
    with pytest.raises(PlanError, match=r"no tensor 'in\.put'"):
        runner.run(None, {})


def test_a_closed_runner_says_so(files: Path, feeds: dict[str, np.ndarray]) -> None:
    for names in (["whole.onnx"], ["stage0.onnx", "stage1.onnx"]):
        runner = StageRunner([(files / name, LANE) for name in names], ["y"])
        runner.close()
        with pytest.raises(PlanError, match="closed"):
            runner.run(None, feeds)


def test_threads_that_run_at_the_same_time_do_not_mix(files: Path) -> None:
    runner = StageRunner([(files / "stage0.onnx", LANE), (files / "stage1.onnx", LANE)], ["y"])
    given = [{"in.put": np.full((1, 8), seed, np.float32)} for seed in range(8)]
    alone = [runner.run(None, feeds)[0] for feeds in given]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda at: runner.run(None, given[at % 8])[0], range(200)))
    for at, found in enumerate(together):
        np.testing.assert_array_equal(found, alone[at % 8])


def test_tensors_are_dropped_after_their_last_use() -> None:
    first = FakeSession(("a",), ("b", "unused"))
    second, third = FakeSession(("b",), ("c",)), FakeSession(("c",), ("d",))
    second.alive = lambda: sum(ref() is not None for ref in first.made)
    third.alive = lambda: sum(ref() is not None for ref in first.made)
    made = iter([first, second, third])
    runner = StageRunner([("", LANE)] * 3, ["d"], create=lambda *_, cache=None: next(made))
    runner.run(None, {"a": np.zeros(1)})
    assert second.alive_before == 1  # b is still needed, the other one is gone
    assert third.alive_before == 0


def test_cpu_sessions_beside_others_do_not_spin_unless_asked_to() -> None:
    spinning = Lane.parse("cpu/f32/t2/spin")
    other = Lane.parse("openvino:cpu/f32/t2")
    spec = SessionSpec(provider="CPUExecutionProvider")
    quiet = [str(lane) for lane in calm([LANE, spinning, other])]
    assert quiet == ["cpu/f32/t1/nospin", "cpu/f32/t2/spin", "openvino:cpu/f32/t2"]
    assert calm([LANE]) == [LANE]
    assert calm([spec, spec]) == [spec, spec]
