"""The whole job on a small network with the real providers of this machine."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import autotune
from autotune.api import SearchResult, bench_plan, export_plan, profile, run_plan, search
from autotune.api.samples import REFERENCE_DEADLINE_S
from autotune.core import Failure, Plan, Scenario, VerdictKind
from autotune.datasets import Store
from autotune.errors import (
    BadReferenceError,
    DeviceBusyError,
    InputError,
    MissingProcessorError,
    ModelFileError,
    PlanError,
    StoreError,
    UnknownNameError,
    UsageError,
)
from autotune.profiler import Job, device_lock, run_outputs, screen
from autotune.runtime import folder as folders
from autotune.runtime import read_plan

from .conftest import PLENTY_S, quick, write_model


def test_the_plan_gives_the_models_outputs(found: SearchResult, place: Path) -> None:
    sample = np.load(place / "inputs.npz")["images"][0]
    wanted = ort.InferenceSession(str(place / "small.onnx")).run(None, {"images": sample})
    with autotune.load_plan(found.folder) as plan:
        got = plan.run(None, {"images": sample})
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-4, atol=1e-5)
    assert [array.shape for array in got] == [array.shape for array in wanted]


def test_the_verdict_comes_with_baselines_and_errors(found: SearchResult) -> None:
    plan = found.plan
    assert plan.verdict is not None
    assert plan.verdict.kind in set(VerdictKind)
    assert {baseline.name for baseline in plan.baselines} >= {"default", "single:cpu/f32/t1"}
    assert found.best_single_processor in {baseline.name for baseline in plan.baselines}
    assert plan.error is not None
    assert plan.error.relative_rms <= plan.tolerance
    assert plan.measured is not None
    assert plan.measured.p50_us > 0


def test_the_json_keeps_the_contract(found: SearchResult) -> None:
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["schema_version"] == 1
    assert set(data) >= {
        "models", "scenario", "device", "plan", "mlflow_run_id", "verdict", "baselines", "best_single_processor",
        "tuned", "speedup", "verified", "cost",
    }  # fmt: skip
    assert set(data["models"][0]) >= {"name", "sha256", "shapes"}
    assert data["models"][0]["shapes"] == {"images": [1, 3, 24, 24]}
    assert set(data["verdict"]) == {"kind", "winner", "reason"}
    assert set(data["tuned"]) >= {"predicted", "measured", "error", "lanes", "stages"}
    assert set(data["tuned"]["measured"]) == {"latency_ms", "throughput_per_s", "load_s", "peak_bytes"}
    assert set(data["speedup"]) == {"over_default", "over_best_single", "over_user"}
    assert set(data["cost"]) >= {
        "profile_s", "train_s", "search_s", "verify_s", "total_s", "device_measurements", "table_candidates", "trials",
    }  # fmt: skip
    for baseline in data["baselines"]:
        assert set(baseline) >= {"name", "latency_ms", "throughput_per_s", "error", "feasible"}


def test_a_second_search_reuses_what_was_measured(
    found: SearchResult, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotune.api.searching.decide_run", lambda _: None)
    again = search(place / "small.onnx", quick(place, budget_s=PLENTY_S))
    known, needed, _ = again.reused
    assert 0 < known <= needed  # a noisy machine may make another lane worth a look
    assert again.plan.model.sha256 == found.plan.model.sha256
    with Store(f"sqlite:///{place / 'home' / 'profiles.db'}") as store:
        assert len(store.kernels()) == len({(r.kernel.signature, str(r.lane)) for r in store.kernels()})


@pytest.mark.slow
def test_offline_measures_throughput_with_callers_and_batches(found: SearchResult, place: Path) -> None:
    offline = search(place / "small.onnx", quick(place, scenario=Scenario.OFFLINE, budget_s=PLENTY_S))
    names = {baseline.name for baseline in offline.plan.baselines}
    assert any(" x2" in name for name in names)
    assert offline.plan.scenario is Scenario.OFFLINE
    with autotune.load_plan(offline.folder) as plan:
        shape = plan.inputs[0].shape
        assert shape is not None
        assert plan.run(["best"], {"images": np.zeros(shape, np.float32)})[0].shape[0] == shape[0]


def test_a_budget_too_small_for_anything_returns_the_default_and_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, int]] = []

    def recorded(job: Job, samples: str, **options: Any) -> Any:
        outputs = run_outputs(job, samples, **options)
        assert not isinstance(outputs, Failure)
        ran.append((job.name, len(outputs)))
        return outputs

    for module in ("samples", "baselines", "deciding", "delivery"):
        monkeypatch.setattr(f"autotune.api.{module}.run_outputs", recorded)
    tiny = search(place / "small.onnx", quick(place, budget_s=1e-3))
    assert tiny.plan.verdict is not None
    assert tiny.plan.verdict.winner == "default"
    assert tiny.plan.measured is not None
    assert tiny.plan.error is not None
    assert any("too small" in warning for warning in tiny.warnings)
    assert any("instead of 0.001 s" in warning and "reference" in warning for warning in tiny.warnings)
    assert any("on 2 of 4 samples" in warning for warning in tiny.warnings)
    assert read_plan(tiny.folder).verdict == tiny.plan.verdict
    assert ran == [("reference", 2), ("plan", 1)]
    assert tiny.cost["device_measurements"] == 1


def test_the_default_of_a_large_model_has_time_to_load(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_s: list[float] = []

    def patient(jobs: list[Job], *, deadline_s: float, **options: Any) -> Any:
        given_s.append(deadline_s)
        return screen(jobs, deadline_s=deadline_s, **options)

    monkeypatch.setattr("autotune.api.baselines.screen", patient)
    search(place / "small.onnx", quick(place, budget_s=1e-3))
    assert given_s == [REFERENCE_DEADLINE_S]


def test_a_tolerance_that_nothing_meets_returns_the_reference(place: Path) -> None:
    exact = search(place / "small.onnx", quick(place, tolerance=0.0))
    assert exact.plan.error is not None
    assert exact.plan.error.relative_rms == 0.0


@pytest.mark.usefixtures("singles_only")
def test_a_programs_own_metric_decides_what_is_near_enough(place: Path) -> None:
    seen: list[float] = []

    def metric(wanted: object, got: object) -> float:
        seen.append(1.0)
        return 0.0

    result = search(place / "small.onnx", quick(place, budget_s=PLENTY_S), metric=metric)
    assert seen
    assert result.plan.error is not None
    assert result.plan.error.relative_rms == 0.0


def test_an_interrupt_keeps_the_best_so_far(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autotune.api.searching.gather", interrupted)
    result = search(place / "small.onnx", quick(place, budget_s=PLENTY_S))
    assert result.interrupted
    assert any("interrupted" in warning for warning in result.warnings)
    assert read_plan(result.folder).measured is not None


def test_an_observer_that_raises_cannot_stop_the_search(place: Path) -> None:
    class Broken:
        def progress(self, *_: object, **__: object) -> None:
            raise RuntimeError("broken observer")

        def event(self, *_: object) -> None:
            raise RuntimeError("broken observer")

    assert search(place / "small.onnx", quick(place, budget_s=0.05), observer=Broken()).folder.exists()


@pytest.mark.usefixtures("singles_only")
def test_the_users_own_options_are_a_baseline(place: Path) -> None:
    options = place / "options.json"
    options.write_text(
        json.dumps({"intra_op_num_threads": 1, "session_config": {"session.intra_op.allow_spinning": "0"}})
    )
    result = search(place / "small.onnx", quick(place, baseline=options, budget_s=PLENTY_S))
    assert "user" in {baseline.name for baseline in result.plan.baselines}


def test_running_benching_and_exporting_a_plan(found: SearchResult, place: Path) -> None:
    outputs = run_plan(found.folder, [place / "inputs.npz"])
    assert len(outputs) == 4
    assert set(outputs[0]) == {"scores", "best"}
    bench = bench_plan(found.folder, launches=2, home=place / "home")
    assert [row.name for row in bench.rows][:2] == ["plan", "default"]
    assert all(row.timing is not None for row in bench.rows[:2])
    exported = export_plan(found.folder, place / "exported")
    assert exported.path.exists()
    assert "onnxruntime" in exported.snippet


def test_inputs_of_another_shape_are_refused_with_the_command_that_has_the_flag(
    found: SearchResult, tmp_path: Path
) -> None:
    np.savez(tmp_path / "wide.npz", images=np.zeros((1, 3, 32, 32), np.float32))
    with pytest.raises(InputError, match=r"`autotune search` .* --shape images=1,3,32,32"):
        run_plan(found.folder, [tmp_path / "wide.npz"])


def test_profiling_alone_knows_what_the_search_measured(found: SearchResult, place: Path) -> None:
    result = profile([place / "small.onnx"], quick(place, budget_s=PLENTY_S), lanes=["cpu/f32/t2"])
    assert result.kernels > 0
    (lane,) = result.lanes
    assert lane.failed == lane.missing == 0


@pytest.mark.parametrize(("lane", "error"), [("gpu/f32/t1", MissingProcessorError), ("cpu/f16/t1", UnknownNameError)])
def test_a_lane_that_cannot_be_measured_is_refused_before_anything_is(
    place: Path, lane: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=lane.split("/", maxsplit=1)[0]):
        profile([place / "not looked at"], quick(place), lanes=[lane])


def test_profiling_says_what_it_left_out(place: Path, tmp_path: Path) -> None:
    result = profile([place / "small.onnx"], quick(place, budget_s=1e-3, home=tmp_path), lanes=["cpu/f32/t1"])
    assert result.lanes[0].missing > 0
    assert any("larger --budget" in warning for warning in result.warnings)


def test_profiling_remembers_where_synthetic_kernels_were_drawn_from(place: Path, tmp_path: Path) -> None:
    hurried = quick(place, budget_s=1e-3, home=tmp_path)
    result = profile([place / "small.onnx"], hurried, synthetic=8, lanes=["cpu/f32/t1"])
    with Store(result.store) as store:
        groups = store.groups()
    assert len(groups["drawn from small"]) == 2
    assert len(set().union(*(own for name, own in groups.items() if name != "small"))) == 8


@pytest.mark.usefixtures("singles_only")
@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no such folder here")
def test_the_users_options_are_read_once(place: Path) -> None:
    """A shell's `--baseline <(echo …)` can be read only once."""
    reader, writer = os.pipe()
    os.write(writer, b'{"intra_op_num_threads": 1}')
    os.close(writer)
    try:
        result = search(place / "small.onnx", quick(place, baseline=Path(f"/dev/fd/{reader}"), budget_s=PLENTY_S))
    finally:
        os.close(reader)
    assert "user" in {baseline.name for baseline in result.plan.baselines}


BAD = [
    ("", {}, UsageError, "squeezenet"),
    ("nothing", {}, UnknownNameError, "yolo"),
    ("missing.onnx", {}, ModelFileError, r"missing\.onnx"),
    ("inputs.npz", {}, ModelFileError, r"inputs\.npz"),
    ("small.onnx", {"shapes": {"images": (1, 3)}}, UsageError, "images"),
    ("small.onnx", {"shapes": {"pictures": (1, 3)}}, UsageError, "pictures"),
    ("small.onnx", {"dims": {"width": 3}}, UsageError, "width"),
    ("small.onnx", {"processors": ("gpu",)}, MissingProcessorError, "gpu"),
]


@pytest.mark.parametrize(("model", "changes", "error", "text"), BAD)
def test_bad_input_is_refused_with_its_value(
    place: Path, model: str, changes: dict[str, object], error: type[Exception], text: str
) -> None:
    path = model if model in ("nothing", "") else place / model
    with pytest.raises(error, match=text):
        search(path, quick(place, **changes))


def test_wrong_inputs_are_refused(place: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", images=np.zeros((1, 3, 24, 24), np.float64))
    with pytest.raises(InputError, match="float64"):
        search(place / "small.onnx", quick(place, inputs=(tmp_path / "wrong.npz",)))


def test_nan_in_the_reference_is_refused(place: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", images=np.full((1, 3, 24, 24), np.nan, np.float32))
    with pytest.raises(BadReferenceError, match="scores"):
        search(place / "small.onnx", quick(place, inputs=(tmp_path / "nan.npz",)))


def test_indices_whose_range_cannot_be_seen_become_zero(place: Path, tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["ids", "two"], ["at"]), helper.make_node("Gather", ["table", "at"], ["y"])]
    weights = [
        numpy_helper.from_array(np.int64(2), "two"),
        numpy_helper.from_array(np.eye(3, dtype=np.float32), "table"),
    ]
    ends = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 9]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 9, 3]),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    path = tmp_path / "offset.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    result = search(path, quick(place, budget_s=0.05, inputs=()))
    assert any("integer inputs are all 0" in warning for warning in result.warnings)


def test_a_home_that_cannot_be_written_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="AUTOTUNE_HOME"):
        search(place / "small.onnx", quick(place, home=tmp_path / "file" / "home"))


def test_nothing_runs_while_another_process_measures(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def must_not_run(*_: Any, **__: Any) -> None:
        raise AssertionError("the reference ran beside the other's measurement")

    monkeypatch.setattr("autotune.api.task.reference_outputs", must_not_run)
    home = place / "busy"
    home.mkdir()
    with device_lock(home, wait_s=0), pytest.raises(DeviceBusyError):
        search(place / "small.onnx", quick(place, home=home, wait_s=0))


def test_an_output_folder_with_something_else_in_it_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(PlanError, match="--output"):
        search(place / "not looked at", quick(place, output=tmp_path))
    assert (tmp_path / "letter.txt").read_text() == "dear"
    with pytest.raises(StoreError, match="--output"):
        search(place / "not looked at", quick(place, output=tmp_path / "letter.txt" / "plan"))


def test_an_output_folder_that_breaks_meanwhile_does_not_cost_the_plan(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up while the plan is written there: it comes to the home folder."""
    fill = folders._fill

    def full(plan: Plan, draft: Path, files: Path, whole: str) -> None:
        if draft.parent == tmp_path:
            next(files.glob("*.onnx")).rename(draft / "moved")
            raise OSError(errno.ENOSPC, "No space left on device")
        fill(plan, draft, files, whole)

    monkeypatch.setattr(folders, "_fill", full)
    result = search(place / "small.onnx", quick(place, budget_s=0.05, output=tmp_path / "plan"))
    assert result.folder.parent == place / "home" / "plans"
    assert any("No space left" in warning for warning in result.warnings)
    autotune.load_plan(result.folder).close()


def test_a_static_batch_works_too(place: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "static.onnx", batch=1)
    assert search(model, quick(place, budget_s=0.05)).plan.model.inputs[0].shape == (1, 3, 24, 24)
