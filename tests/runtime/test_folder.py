"""A plan as a folder."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.core import PLAN_SCHEMA_VERSION, Plan
from autotune.errors import PlanError, SchemaVersionError, StoreError
from autotune.runtime import check_target, load_plan, read_plan, whole_model, write_plan


def _change(folder: Path, **fields: object) -> None:
    path = folder / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_plan_reads_back_as_it_was_written(files: Path, tmp_path: Path, plan: Plan) -> None:
    write_plan(plan, tmp_path / "new" / "plan", files=files, whole="whole.onnx")
    assert read_plan(tmp_path / "new" / "plan") == plan
    assert whole_model(tmp_path / "new" / "plan") == tmp_path / "new" / "plan" / "whole.onnx"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["plan"]


def test_a_plan_replaces_an_older_one(files: Path, tmp_path: Path, plan: Plan) -> None:
    shutil.copytree(files, tmp_path / "again")
    write_plan(plan, tmp_path / "plan", files=files, whole="whole.onnx")
    write_plan(plan, tmp_path / "plan", files=tmp_path / "again", whole="whole.onnx")
    assert read_plan(tmp_path / "plan") == plan


def test_an_empty_folder_may_be_taken(files: Path, tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "plan").mkdir()
    write_plan(plan, tmp_path / "plan", files=files, whole="whole.onnx")
    assert read_plan(tmp_path / "plan") == plan


@pytest.mark.parametrize("with_plan", [False, True])
def test_a_folder_with_other_files_is_refused_and_kept(
    files: Path, tmp_path: Path, plan: Plan, *, with_plan: bool
) -> None:
    folder = tmp_path / "plan"
    if with_plan:
        shutil.copytree(files, tmp_path / "again")
        write_plan(plan, folder, files=tmp_path / "again", whole="whole.onnx")
    else:
        folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(PlanError, match=r"holds thesis\.txt"):
        write_plan(plan, folder, files=files, whole="whole.onnx")
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_a_target_is_checked_before_there_is_a_plan(tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "plan")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PlanError, match="is a file"):
        check_target(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be written"):
        check_target(tmp_path / "file" / "plan")


def test_a_newer_plan_says_what_helps(plan_folder: Path) -> None:
    _change(plan_folder, schema_version=PLAN_SCHEMA_VERSION + 1)
    with pytest.raises(SchemaVersionError, match="search again") as caught:
        read_plan(plan_folder)
    assert "AUTOTUNE_HOME" not in str(caught.value)


def test_a_file_of_the_plan_that_is_not_staged_is_refused(files: Path, tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(PlanError, match=r"needs none\.onnx"):
        write_plan(plan, tmp_path / "plan", files=files, whole="none.onnx")
    assert not (tmp_path / "plan").exists()


def test_a_full_disk_leaves_the_older_plan(
    files: Path, tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(files, tmp_path / "again")
    write_plan(plan, tmp_path / "plan", files=tmp_path / "again", whole="whole.onnx")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("autotune.runtime.folder.shutil.move", full)
    with pytest.raises(StoreError, match=r"plan \(No space left on device\): free some space"):
        write_plan(plan, tmp_path / "plan", files=files, whole="whole.onnx")
    assert read_plan(tmp_path / "plan") == plan
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("moved", [False, True], ids=["before", "after"])
def test_an_interrupt_between_old_and_new_leaves_one_of_them(
    files: Path, tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, *, moved: bool
) -> None:
    shutil.copytree(files, tmp_path / "again")
    newer = replace(plan, tolerance=2e-3)
    write_plan(plan, tmp_path / "plan", files=files, whole="whole.onnx")
    rename, interrupted = Path.rename, False

    def once(source: Path, target: Path) -> Path:
        nonlocal interrupted
        if target == tmp_path / "plan" and not interrupted:
            interrupted = True
            if moved:
                rename(source, target)
            raise KeyboardInterrupt
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(KeyboardInterrupt):
        write_plan(newer, tmp_path / "plan", files=tmp_path / "again", whole="whole.onnx")
    assert read_plan(tmp_path / "plan") == (newer if moved else plan)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_place_that_cannot_be_written_is_named(files: Path, tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file cannot be written"):
        write_plan(plan, tmp_path / "file" / "plan", files=files, whole="whole.onnx")


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(PlanError, match=r"no plan: it has no plan\.json"):
            read_plan(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"schema_version": "x"}', '{"schema_version": 0}'])
def test_a_damaged_description_is_refused(plan_folder: Path, text: str) -> None:
    (plan_folder / "plan.json").write_text(text)
    with pytest.raises(PlanError, match="damaged"):
        read_plan(plan_folder)


@pytest.mark.parametrize("field", ["model", "stages", "files", "whole", "tolerance"])
def test_a_missing_field_is_refused(plan_folder: Path, field: str) -> None:
    _change(plan_folder, **{field: None})
    with pytest.raises(PlanError, match="damaged"):
        read_plan(plan_folder)


def test_a_newer_plan_is_refused_by_its_version(plan_folder: Path) -> None:
    _change(plan_folder, schema_version=PLAN_SCHEMA_VERSION + 1)
    with pytest.raises(SchemaVersionError, match=f"schema version {PLAN_SCHEMA_VERSION + 1}.*search again"):
        read_plan(plan_folder)


def test_missing_and_truncated_files_are_named(plan_folder: Path) -> None:
    weights = plan_folder / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(PlanError, match=r"weights\.bin has \d+ bytes instead of \d+"):
        load_plan(plan_folder)
    weights.unlink()
    with pytest.raises(PlanError, match=r"weights\.bin is missing"):
        load_plan(plan_folder)


def test_changed_contents_are_found_where_it_is_cheap_or_asked_for(
    plan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = plan_folder / "weights.bin"
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    with pytest.raises(PlanError, match=r"contents of weights\.bin"):
        load_plan(plan_folder)
    load_plan(plan_folder, verify=False).close()
    monkeypatch.setattr("autotune.runtime.loaded.CHEAP_BYTES", 0)
    load_plan(plan_folder).close()
    with pytest.raises(PlanError, match=r"contents of weights\.bin"):
        load_plan(plan_folder, verify=True)


@pytest.mark.parametrize("name", ["../escape.onnx", "/etc/passwd", "sub/../../escape.onnx", ".."])
def test_a_file_outside_the_folder_is_refused(plan_folder: Path, name: str) -> None:
    (plan_folder.parent / "escape.onnx").write_bytes(b"")
    known = json.loads((plan_folder / "plan.json").read_text())["files"]
    _change(plan_folder, files=known | {name: {"bytes": 0, "sha256": ""}})
    with pytest.raises(PlanError):
        read_plan(plan_folder)
