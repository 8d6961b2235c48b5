"""A study goes on after its process was killed in the middle of a line, or while it held the lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.planning import Explorer


def trials(journal: Path) -> int:
    """How many the study has once one more was added to it."""
    study = Explorer(name="a", storage=journal, seed=0)._study
    trial = study.ask()
    study.tell(trial, trial.suggest_float("x", 0.0, 1.0))
    return len(study.trials)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """One trial."""
    path = tmp_path / "study.log"
    assert trials(path) == 1
    return path


@pytest.mark.parametrize("torn", [b'{"op_code": 4, "worker', b"\x00\x01\x02\n", b"\x89PNG\r\n\x1a", b"3\n", b""])
def test_whole_lines_are_kept(journal: Path, torn: bytes) -> None:
    journal.write_bytes(journal.read_bytes() + torn)
    assert trials(journal) == 2
    assert trials(journal) == 3


def test_a_file_that_is_no_journal_starts_anew(journal: Path) -> None:
    journal.write_bytes(b"\x89PNG")
    assert trials(journal) == 1


def test_a_lock_left_behind_is_not_waited_for(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(_: float) -> None:
        raise AssertionError("it waits for the lock")

    journal.with_name("study.log.lock").symlink_to(journal)
    monkeypatch.setattr("time.sleep", waits)
    assert trials(journal) == 2
