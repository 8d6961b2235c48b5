"""A folder is written whole or stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.core import written_whole


def write(folder: Path, text: str) -> None:
    with written_whole(folder) as draft:
        (draft / "text").write_text(text)


def test_a_folder_is_replaced_by_what_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for text in ("first", "second"):
        write(folder, text)
        assert (folder / "text").read_text() == text
        assert folder.stat().st_mode & 0o777 == 0o755
        assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_earlier_folder_comes_back_where_the_new_one_does_not_get_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    folder, rename, failures = tmp_path / "folder", Path.rename, [error]
    write(folder, "earlier")

    def failing(source: Path, target: Path) -> Path:
        if target == folder and failures:
            raise failures.pop()
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(type(error)):
        write(folder, "new")
    assert (folder / "text").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_nothing_is_lost_where_not_even_the_earlier_one_can_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename = tmp_path / "folder", Path.rename
    write(folder, "earlier")

    def failing(source: Path, target: Path) -> Path:
        if target == folder:
            raise OSError(28, "No space left on device")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        write(folder, "new")
    assert [path.read_text() for path in tmp_path.rglob("text")] == ["earlier"]


def test_what_fails_while_it_is_written_leaves_no_draft(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "folder"):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())
