"""A disk that fills up in mid-search: the best plan until then, or a message; nothing measured is lost."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from optuna.storages.journal import JournalFileBackend

from autotune.api import SearchSettings, search, searching
from autotune.core import ProfileRecord
from autotune.datasets import Store
from autotune.errors import StoreError
from autotune.graph import extract
from autotune.planning import bench
from autotune.runtime import drafts, read_plan

from .conftest import PLENTY_S, quick


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def hasty(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    """A search with time for everything but deciding launches."""
    monkeypatch.setattr(searching, "decide_run", lambda _: None)
    return quick(place, budget_s=PLENTY_S, output=tmp_path / "plan")


@pytest.mark.parametrize("writer", ["store", "stages", "study"])
def test_what_was_measured_before_gives_the_plan(
    place: Path, hasty: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    if writer == "store":
        hasty = replace(hasty, home=tmp_path / "home")  # where nothing is known
        stored: list[ProfileRecord] = []
        add = Store.add

        def add_few(store: Store, records: list[ProfileRecord]) -> None:
            if len(stored) == 3:
                raise StoreError("profiles.db: database or disk is full")
            add(store, records)
            stored.extend(records)

        monkeypatch.setattr(Store, "add", add_few)
    elif writer == "stages":
        monkeypatch.setattr(bench, "extract", lambda *_: full())
    else:
        monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    result = search(place / "small.onnx", hasty)
    (note,) = (warning for warning in result.warnings if warning.startswith("broken off: "))
    assert "full" in note or "No space left" in note
    assert read_plan(result.folder).measured is not None
    assert any(baseline.name.startswith("single:") and baseline.measured for baseline in result.plan.baselines)
    assert hasty.home is not None
    with Store(f"sqlite:///{hasty.home / 'profiles.db'}") as store:
        kept = store.kernels()
    assert len(kept) == 3 if writer == "store" else len(kept) > 3


class Told:
    """Remembers the names of baselines."""

    def __init__(self) -> None:
        self.baselines: list[object] = []

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
        pass

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        if name == "baseline":
            self.baselines.append(fields["name"])


def test_a_plan_that_cannot_be_written_is_named_in_the_message(
    place: Path, hasty: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "write_json", full)
    monkeypatch.setattr("autotune.runtime.folder.write_json", full)
    monkeypatch.setattr(searching, "gather", lambda _: None)
    told = Told()
    with pytest.raises(StoreError, match=r"No space left on device.*it was (default|single:).* ms") as caught:
        search(place / "small.onnx", hasty, observer=told)
    assert "TMPDIR" in str(caught.value)
    assert "default" in told.baselines
    assert hasty.output is not None
    assert not hasty.output.exists()


def test_stages_of_other_candidates_make_room_for_the_plan(
    place: Path, hasty: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "gather", lambda run: run.bench.files([(0, 1), (1, 2)]) and None)

    def extract_where_there_is_room(graph: Any, ranges: Any, folder: Path) -> Any:
        if any((folder.parent / "stages").iterdir() if (folder.parent / "stages").exists() else ()):
            raise StoreError(f"{folder} cannot be written (No space left on device)")
        return extract(graph, ranges, folder)

    monkeypatch.setattr("autotune.planning.stage_files.extract", extract_where_there_is_room)
    assert read_plan(search(place / "small.onnx", hasty).folder).measured is not None
