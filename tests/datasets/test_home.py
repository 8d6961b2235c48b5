"""The home folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.datasets import Store, home
from autotune.errors import StoreError


def test_is_what_the_environment_names_and_gets_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "a" / "b"))
    assert home() == tmp_path / "a" / "b"
    assert list(home().iterdir()) == []
    with Store() as store:
        assert store.place == str(tmp_path / "a" / "b" / "profiles.db")


def test_is_the_platforms_user_data_folder_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOTUNE_HOME", raising=False)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name, appauthor: str(tmp_path / name))
    assert home() == tmp_path / "autotune"


def test_one_that_cannot_be_written_names_the_path_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StoreError, match=r"file/home cannot be written .*export AUTOTUNE_HOME"):
        home()
