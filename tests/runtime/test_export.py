"""Exports for plain ONNX Runtime."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autotune.core import Lane, Scenario
from autotune.errors import PlanError, StoreError
from autotune.processors import SessionSpec, allowed_cores, session_options
from autotune.runtime import config as module
from autotune.runtime import crew, example_feeds, export_ort_config, load_plan, python_snippet, read_plan, write_plan

from .conftest import LANE, make_plan


def _run_plainly(snippet: str, feeds: dict[str, np.ndarray], folder: Path) -> list[np.ndarray]:
    """In a process of its own that must not import autotune."""
    np.savez(folder / "feeds.npz", **feeds)  # type: ignore[arg-type]
    before = f"import sys, numpy\nfeeds = dict(numpy.load({str(folder / 'feeds.npz')!r}))\n"
    after = (
        "assert not any(name.split('.')[0] == 'autotune' for name in sys.modules)\n"
        f"numpy.savez({str(folder / 'found.npz')!r}, *outputs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + snippet + after], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "found.npz") as found:
        return [found[name] for name in found.files]


def test_the_snippet_gives_the_plan_s_outputs(plan_folder: Path, tmp_path: Path, feeds: dict[str, np.ndarray]) -> None:
    path = export_ort_config(plan_folder, tmp_path / "exported")
    found = _run_plainly(python_snippet(path), feeds, tmp_path)
    with load_plan(plan_folder) as plan:
        for left, right in zip(found, plan.run(None, feeds), strict=True):
            np.testing.assert_array_equal(left, right)


def test_the_lines_work_as_they_are_pasted(plan_folder: Path, tmp_path: Path) -> None:
    """Line by line into an interactive Python: a block must end with an empty line there."""
    path = export_ort_config(plan_folder, tmp_path / "exported")
    text = f"{example_feeds(path)}{python_snippet(path)}print([found.shape for found in outputs])\n"
    done = subprocess.run([sys.executable, "-i", "-q"], input=text, capture_output=True, text=True, check=False)
    assert "Error" not in done.stderr
    assert done.stdout.strip().endswith("[(1, 8), (1, 8)]")


def test_a_damaged_plan_is_not_exported(plan_folder: Path, tmp_path: Path) -> None:
    file = next(plan_folder.glob("*.onnx"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(PlanError, match="have changed"):
        export_ort_config(plan_folder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_the_config_names_options_files_and_tensors(plan_folder: Path, tmp_path: Path) -> None:
    path = export_ort_config(plan_folder, tmp_path / "exported")
    config = json.loads(path.read_text())
    assert config["outputs"] == ["y", "z"]
    assert config["inputs"] == [{"name": "in.put", "type": "float32", "shape": [1, 8]}]
    for stage in config["stages"]:
        assert (path.parent / stage["file"]).is_file()
        (session,) = stage["sessions"]
        assert session["provider"] == "CPUExecutionProvider"
        assert session["intra_op_num_threads"] == 1
        assert stage["workers"] == [{"session": 0, "cores": []}]
    assert config["to_do"] == []
    options = [stage["sessions"][0]["session_config"] for stage in config["stages"]]
    quiet = {one.get("session.intra_op.allow_spinning") for one in options}
    assert quiet == ({None} if len(config["stages"]) == 1 else {"0"})


def test_a_plugin_is_registered_by_the_snippet(
    plan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SessionSpec(provider="Some", registration="plugin", library="/lib/some.so", device="npu", ordinal=1)
    monkeypatch.setattr(module, "session_options", lambda _: spec)
    path = export_ort_config(plan_folder, tmp_path / "exported")
    snippet = python_snippet(path)
    compile(snippet, "snippet", "exec")
    assert snippet.count("ort.register_execution_provider_library('Some', '/lib/some.so')") == 1
    assert "add_provider_for_devices" in snippet
    assert json.loads(path.read_text())["stages"][0]["sessions"][0]["plugin_library"] == "/lib/some.so"


def test_an_export_may_be_written_again_but_not_over_something_else(plan_folder: Path, tmp_path: Path) -> None:
    assert export_ort_config(plan_folder, tmp_path / "a") == export_ort_config(plan_folder, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    for taken in ("b", "file"):
        with pytest.raises(PlanError, match=r"no exported plan's: give|is a file: give"):
            export_ort_config(plan_folder, tmp_path / taken)
    with pytest.raises(PlanError, match=r"holds .*no exported plan's"):  # its own folder
        export_ort_config(plan_folder, plan_folder)
    assert read_plan(plan_folder).stages


def test_streams_pinned_cores_and_callers_are_not_lost(
    files: Path, tmp_path: Path, feeds: dict[str, np.ndarray]
) -> None:
    """The usual winner of Offline: a stream on every core, each with a session and a thread of its own."""
    cores = allowed_cores()[:2]
    lane = Lane.parse(f"cpu/f32/t1/s{len(cores)}/c{'+'.join(map(str, cores))}")
    plan = replace(make_plan(stages=1, lane=lane), scenario=Scenario.OFFLINE, callers=len(cores))
    write_plan(plan, tmp_path / "plan", files=files, whole="whole.onnx")
    path = export_ort_config(tmp_path / "plan", tmp_path / "exported")
    config = json.loads(path.read_text())
    (stage,) = config["stages"]
    assert [session["intra_op_num_threads"] for session in stage["sessions"]] == [1] * len(cores)
    assert stage["workers"] == [{"session": at, "cores": [core]} for at, core in enumerate(cores)]
    snippet = python_snippet(path)
    for text in config["to_do"]:
        assert f"# {text}" in snippet.replace("#   ", "# ")
    assert any("pinning" in text for text in config["to_do"])
    with load_plan(tmp_path / "plan") as loaded:
        for left, right in zip(_run_plainly(snippet, feeds, tmp_path), loaded.run(None, feeds), strict=True):
            np.testing.assert_array_equal(left, right)


def test_the_threads_of_each_copy_keep_their_own_cores(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "allowed_cores", lambda: tuple(range(8)))
    plan = make_plan(stages=1, lane=Lane.parse("cpu/f32/t2/s2/c4+5+6+7"))
    write_plan(plan, tmp_path / "plan", files=files, whole="whole.onnx")
    config = json.loads(export_ort_config(tmp_path / "plan", tmp_path / "exported").read_text())
    (stage,) = config["stages"]
    pinned = [session["session_config"]["session.intra_op_thread_affinities"] for session in stage["sessions"]]
    assert pinned == ["6", "8"]  # ONNX Runtime counts from 1
    assert stage["workers"] == [{"session": 0, "cores": [4]}, {"session": 1, "cores": [6]}]


def test_a_full_disk_leaves_what_was_there_and_a_retry_works(
    plan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for earlier in (False, True):
        before = sorted(tmp_path.rglob("*"))
        with monkeypatch.context() as patch:
            patch.setattr(module, "write_json", full)  # the stages are there by then
            with pytest.raises(StoreError, match=r"the exported plan cannot be written .*No space left"):
                export_ort_config(plan_folder, tmp_path / "exported")
        assert sorted(tmp_path.rglob("*")) == before
        assert (tmp_path / "exported").exists() == earlier
        assert export_ort_config(plan_folder, tmp_path / "exported").is_file()


def test_a_place_that_cannot_be_written_is_named(plan_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        export_ort_config(plan_folder, tmp_path / "file" / "exported")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stages": [], "inputs": []}'])
def test_a_damaged_export_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "ort-config.json").write_text(text)
    with pytest.raises(PlanError, match="is no exported plan"):
        python_snippet(tmp_path / "ort-config.json")


@pytest.mark.parametrize(("callers", "at_once"), [(1, False), (2, True)])
def test_consecutive_requests_are_on_two_processors_at_the_same_time(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, callers: int, at_once: bool
) -> None:
    """A GPU that is not here, beside a CPU lane that has no rival for its cores and is not pinned."""
    monkeypatch.setattr(module, "session_options", lambda _: session_options(LANE))
    plan = make_plan()
    first, second = plan.stages
    stages = first, replace(second, lane=Lane.parse("webgpu:gpu"))
    folder = tmp_path / "plan"
    write_plan(replace(plan, stages=stages, callers=callers), folder, files=files, whole="whole.onnx")
    exported = json.loads(export_ort_config(folder, tmp_path / "out").read_text())
    assert exported["at_the_same_time"] is at_once
