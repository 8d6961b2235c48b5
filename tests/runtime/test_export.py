"""Exports for plain ONNX Runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autotune.errors import PlanError, StoreError
from autotune.processors import SessionSpec
from autotune.runtime import config as module
from autotune.runtime import example_feeds, export_ort_config, load_plan, python_snippet


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
        assert stage["session"]["provider"] == "CPUExecutionProvider"
        assert stage["session"]["intra_op_num_threads"] == 1
    quiet = {stage["session"]["session_config"].get("session.intra_op.allow_spinning") for stage in config["stages"]}
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
    assert json.loads(path.read_text())["stages"][0]["session"]["plugin_library"] == "/lib/some.so"


def test_an_export_may_be_written_again_but_not_over_something_else(plan_folder: Path, tmp_path: Path) -> None:
    assert export_ort_config(plan_folder, tmp_path / "a") == export_ort_config(plan_folder, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    for taken in ("b", "file"):
        with pytest.raises(PlanError, match="is no exported plan"):
            export_ort_config(plan_folder, tmp_path / taken)


def test_a_place_that_cannot_be_written_is_named(plan_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        export_ort_config(plan_folder, tmp_path / "file" / "exported")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stages": [], "inputs": []}'])
def test_a_damaged_export_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "ort-config.json").write_text(text)
    with pytest.raises(PlanError, match="is no exported plan"):
        python_snippet(tmp_path / "ort-config.json")
