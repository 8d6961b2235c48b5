"""Plans that are loaded and run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import autotune
from autotune.core import Lane, Plan, Precision, Processor, Scenario, TensorSpec
from autotune.errors import MissingProcessorError, PlanError, SessionError, StoreError
from autotune.processors import Discovery, allowed_cores, create_session, discover
from autotune.runtime import StageRunner, load_plan, read_plan, write_plan
from autotune.runtime import loaded as module

from .conftest import LANE, stage_files


def _on(plan: Plan, lane: str) -> Plan:
    return replace(plan, stages=tuple(replace(stage, lane=Lane.parse(lane)) for stage in plan.stages))


def _elsewhere(plan: Plan) -> Plan:
    return replace(plan, device=replace(plan.device, id="another", name="Another CPU"))


def gathering(folder: Path, plan: Plan) -> tuple[Plan, Path]:
    """A plan of one stage that looks up in a table of 8, and where it goes; its file lies in `folder`."""
    folder.mkdir()
    token = TensorSpec(name="in.put", dtype="int64", shape=(1, 1))
    found = TensorSpec(name="y", dtype="float32", shape=(1, 1))
    table = numpy_helper.from_array(np.arange(8, dtype=np.float32), "table")
    takes = helper.make_tensor_value_info(token.name, TensorProto.INT64, [1, 1])
    gives = helper.make_tensor_value_info(found.name, TensorProto.FLOAT, [1, 1])
    node = helper.make_node("Gather", ["table", token.name], [found.name])
    graph = helper.make_graph([node], "gather", [takes], [gives], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "gather.onnx"))
    stage = replace(plan.stages[0], file="gather.onnx", start=0, stop=1, inputs=(token.name,), outputs=(found.name,))
    info = replace(plan.model, inputs=(token,), outputs=(found,))
    return replace(plan, model=info, stages=(stage,)), folder.parent / "plan"


@pytest.fixture
def written(files: Path, tmp_path: Path) -> Callable[[Plan], Path]:
    def write(plan: Plan) -> Path:
        write_plan(plan, tmp_path / "plan", files=files, whole="whole.onnx")
        return tmp_path / "plan"

    return write


def test_a_plan_runs_as_a_session_does(
    plan_folder: Path, feeds: dict[str, np.ndarray], expected: list[np.ndarray]
) -> None:
    with autotune.load_plan(plan_folder) as plan:
        assert plan.plan == read_plan(plan_folder)
        assert [item.name for item in plan.get_inputs()] == ["in.put"]
        assert [item.name for item in plan.outputs] == ["y", "z"]
        for left, right in zip(plan.run(None, feeds), expected, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)
        (z,) = plan.run(["z"], feeds)
        np.testing.assert_allclose(z, expected[1], rtol=1e-4, atol=1e-5)


def test_a_closed_plan_says_so(plan_folder: Path, feeds: dict[str, np.ndarray]) -> None:
    plan = load_plan(plan_folder)
    plan.close()
    plan.close()
    with pytest.raises(PlanError, match="closed"):
        plan.run(None, feeds)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "the inputs must be in.put; got none"),
        ({"x": np.zeros((1, 8), np.float32)}, "the inputs must be in.put; got x"),
        ({"in.put": np.zeros((1, 8))}, "has type float64, the plan needs float32"),
        (
            {"in.put": np.zeros((2, 8), np.float32)},
            r"has shape \(2, 8\).* --shape in.put=2,8, or load it with fallback",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(plan_folder: Path, given: dict[str, np.ndarray], message: str) -> None:
    with load_plan(plan_folder) as plan, pytest.raises(PlanError, match=message):
        plan.run(None, given)


def test_an_unknown_output_is_refused(plan_folder: Path, feeds: dict[str, np.ndarray]) -> None:
    with load_plan(plan_folder) as plan, pytest.raises(PlanError, match="unknown output nothing; known: y, z"):
        plan.run(["nothing"], feeds)


def test_lists_are_taken_as_a_session_takes_them(plan_folder: Path, expected: list[np.ndarray]) -> None:
    with load_plan(plan_folder) as plan:
        y, _ = plan.run(None, {"in.put": [[0.0] * 8]})
        np.testing.assert_array_equal(y, np.zeros((1, 8)))


def test_a_missing_processor_is_refused_or_replaced(
    written: Callable[[Plan], Path], plan: Plan, feeds: dict[str, np.ndarray], expected: list[np.ndarray]
) -> None:
    folder = written(_on(plan, "qnn:npu/f32"))
    with pytest.raises(PlanError, match=r"needs qnn:npu, which .* Search again here, or load it with fallback=True"):
        load_plan(folder)
    with load_plan(folder, fallback=True) as loaded:
        assert loaded.fallback_reason == "this machine does not have qnn:npu"
        np.testing.assert_allclose(loaded.run(None, feeds)[0], expected[0], rtol=1e-4, atol=1e-5)


def test_cores_that_may_not_be_used_are_refused_or_the_whole_model_stands_in(
    written: Callable[[Plan], Path], plan: Plan, feeds: dict[str, np.ndarray], expected: list[np.ndarray]
) -> None:
    far = max(allowed_cores()) + 1000
    folder = written(_on(plan, f"cpu/f32/t1/c{far}"))
    with pytest.raises(PlanError, match=rf"pinned to core {far}, this process may use .* --fallback"):
        load_plan(folder)
    with load_plan(folder, fallback=True) as loaded:
        assert f"core {far}" in loaded.fallback_reason
        np.testing.assert_allclose(loaded.run(None, feeds)[0], expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(loaded.submit(None, feeds).result(20)[0], expected[0], rtol=1e-4, atol=1e-5)


def test_a_missing_precision_on_another_machine_is_refused_or_replaced(
    written: Callable[[Plan], Path], plan: Plan, feeds: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = Processor(name="openvino:cpu", provider="OpenVINOExecutionProvider", device="cpu", version="1")
    found = Discovery(processors=(processor,), broken=(), runtime="onnxruntime 1")
    monkeypatch.setattr(module, "discover", lambda: found)
    folder = written(_elsewhere(_on(plan, "openvino:cpu/bf16")))
    with pytest.raises(PlanError, match=r"needs bf16 on openvino:cpu, .* made on Another CPU"):
        load_plan(folder)
    with load_plan(folder, fallback=True) as loaded:
        assert loaded.run(None, feeds)[0].shape == (1, 8)


def test_nothing_is_tried_on_the_machine_that_the_plan_was_made_on(
    plan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> Discovery:
        raise AssertionError("probed")

    monkeypatch.setattr(module, "discover", never)
    load_plan(plan_folder).close()


def test_a_stage_that_cannot_be_opened_falls_back_only_if_told_to(
    written: Callable[[Plan], Path], plan: Plan, feeds: dict[str, np.ndarray]
) -> None:
    folder = written(plan)
    (folder / "stage0.onnx").write_bytes(b"no model")
    data = json.loads((folder / "plan.json").read_text())
    data["files"]["stage0.onnx"]["bytes"] = 8
    (folder / "plan.json").write_text(json.dumps(data))
    with pytest.raises(SessionError):
        load_plan(folder, verify=False)
    with load_plan(folder, verify=False, fallback=True) as loaded:
        assert loaded.fallback_reason.startswith("CPUExecutionProvider cannot run")
        assert loaded.run(None, feeds)[0].shape == (1, 8)


def test_inputs_of_other_shapes_fall_back_where_the_whole_model_allows_them(
    tmp_path: Path, plan: Plan, stage_folder: Callable[..., Path]
) -> None:
    given = {"in.put": np.ones((3, 8), np.float32)}
    write_plan(plan, tmp_path / "free", files=stage_folder("a", free=True), whole="whole.onnx")
    write_plan(plan, tmp_path / "fixed", files=stage_folder("b"), whole="whole.onnx")
    with load_plan(tmp_path / "free", fallback=True) as loaded:
        assert loaded.run(None, given)[0].shape == (3, 8)
        assert loaded.run(None, {"in.put": given["in.put"][:1]})[0].shape == (1, 8)
    with (
        load_plan(tmp_path / "fixed", fallback=True) as loaded,
        pytest.raises(PlanError, match=r"--shape in.put=3,8: the whole model that stands in was prepared for \(1, 8\)"),
    ):
        loaded.run(None, given)


@pytest.mark.openvino
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_an_openvino_stage_between_others(
    files: Path, tmp_path: Path, plan: Plan, feeds: dict[str, np.ndarray], expected: list[np.ndarray], precision: str
) -> None:
    try:
        here = discover().get("openvino:cpu")
    except MissingProcessorError:
        pytest.skip("no OpenVINO device")
    if precision not in here.precisions:
        pytest.skip(f"no {precision}")
    lane = Lane.parse(f"openvino:cpu/{precision}/t1")
    mixed = replace(plan, stages=(replace(plan.stages[0], lane=lane), plan.stages[1]))
    write_plan(mixed, tmp_path / "plan", files=files, whole="whole.onnx")
    with load_plan(tmp_path / "plan", cache=tmp_path / "cache") as loaded:
        y, _ = loaded.run(None, feeds)
    error = np.sqrt(np.mean((y - expected[0]) ** 2) / np.mean(expected[0] ** 2))
    assert error < (1e-5 if Precision(precision).is_reference else 3e-2)


class Meeting:
    """A session whose first two runs go on when both are there.

    Args:
        takes: its input.
        gives: its outputs.
        meet: for two.
    """

    def __init__(self, takes: str, gives: Sequence[str], meet: threading.Barrier) -> None:
        self._takes, self._gives, self._meets = takes, gives, [meet, meet]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=self._takes)]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self._gives]

    def run(self, names: Sequence[str], *_: object) -> list[Any]:
        if self._meets:
            self._meets.pop().wait()
        return [np.zeros((1, 8), np.float32) for _ in names]


def test_submit_works_with_the_plans_callers_and_no_more(
    written: Callable[[Plan], Path], plan: Plan, feeds: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition that was measured with two callers: two requests may be in one stage, two threads do it all."""
    lanes = ("cpu/f32/t1", "cpu/f32/t2")
    stages = tuple(replace(s, lane=Lane.parse(lane)) for s, lane in zip(plan.stages, lanes, strict=True))
    folder = written(replace(plan, stages=stages, scenario=Scenario.OFFLINE, callers=2))

    def create(path: Path, *_: object, **__: object) -> Meeting:
        ends = ("in.put", ["h"]) if path.name == "stage0.onnx" else ("h", ["y", "z"])
        return Meeting(*ends, threading.Barrier(2, timeout=5.0))

    monkeypatch.setattr(module, "named_session", create)
    before = threading.active_count()
    with load_plan(folder) as loaded:
        futures = [loaded.submit(None, feeds) for _ in range(2)]
        assert [len(future.result(20.0)) for future in futures] == [2, 2]
        assert threading.active_count() == before + 2
    assert threading.active_count() == before


@pytest.mark.parametrize("submitted", [False, True])
def test_a_stage_that_fails_is_named_with_its_lane(tmp_path: Path, plan: Plan, *, submitted: bool) -> None:
    """A token beyond the vocabulary: ONNX Runtime's own exceptions have no root."""
    write_plan(*gathering(tmp_path / "files", plan), files=tmp_path / "files", whole="gather.onnx")
    feeds = {"in.put": np.array([[99]], np.int64)}
    with load_plan(tmp_path / "plan") as loaded:
        with pytest.raises(SessionError, match=r"the stage gather\.onnx on cpu/f32/t1 failed: .*99.* Check the values"):
            loaded.submit(None, feeds).result(20.0) if submitted else loaded.run(None, feeds)
        assert loaded.run(None, {"in.put": np.array([[3]], np.int64)})[0].shape == (1, 1)


def test_each_plan_has_compiled_models_of_its_own(
    written: Callable[[Plan], Path], plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT would take an engine of a model with the same names and other weights."""
    seen: list[Path | None] = []

    def create(path: Path, lane: Lane, *, cache: Path | None = None) -> Any:
        seen.append(cache)
        return create_session(path, LANE)

    monkeypatch.setattr(module, "named_session", create)
    monkeypatch.setattr(module, "resolve", lambda _: None)
    load_plan(written(plan), cache=tmp_path / "cache").close()
    assert set(seen) == {None}  # the CPU provider compiles nothing that could be kept
    assert not (tmp_path / "cache").exists()
    folder = tmp_path / "other"
    for name in ("one", "two"):
        files = stage_files(tmp_path / name)
        weights = files / "weights.bin"
        weights.write_bytes(bytes([len(seen)]) + weights.read_bytes()[1:])
        write_plan(_on(plan, "webgpu:gpu/f32"), folder, files=files, whole="whole.onnx")
        load_plan(folder, cache=tmp_path / "cache").close()
    first, second = dict.fromkeys(cache for cache in seen if cache is not None)
    assert first.parent == second.parent == tmp_path / "cache"
    assert first.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="give another cache, or none"):
        load_plan(folder, cache=tmp_path / "file")


def test_a_loaded_plan_of_one_lane_has_one_session(plan_folder: Path) -> None:
    with load_plan(plan_folder) as plan:
        assert isinstance(plan._runner, StageRunner)
        assert len(plan._runner.sessions) == len(plan.plan.stages)
        assert plan.fallback_reason == ""
