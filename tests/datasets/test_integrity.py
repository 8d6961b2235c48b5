"""A check of the data base finds pages that are damaged and rows that no longer decode, and names the first."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from autotune.datasets import Store


@pytest.fixture
def path(tmp_path: Path, made: ModuleType) -> Path:
    """A data base with rows in every table."""
    place = tmp_path / "profiles.db"
    with Store(f"sqlite:///{place}") as store:
        store.add([made.record(8), made.record(16), made.failed(8)])
        store.add_stages([made.stage()])
        store.add_coruns([made.corun()])
        store.add_model("a" * 64, "m", [made.kernel().signature])
    return place


def wrong(path: Path) -> list[str]:
    with Store(f"sqlite:///{path}") as store:
        return store.wrong()


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_nothing_is_wrong_with_what_was_stored(path: Path) -> None:
    assert wrong(path) == []


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE profiles SET samples_us = x'0102' WHERE id = 2", "1 of 3 rows of profiles cannot be read, .* id 2 "),
        ("UPDATE profiles SET lane = '{'", "3 of 3 rows of profiles cannot be read, the first is id 1 "),
        ("DELETE FROM kernels WHERE json LIKE '%16%'", "rows of profiles cannot be read"),
        ("UPDATE kernels SET json = '[]'", "rows of kernels cannot be read, the first is signature "),
        (
            "UPDATE kernels SET json = replace(json, 'LeakyRelu', 'Relu')",
            "the kernel is not the one that its signature",
        ),
        ("UPDATE stages SET errors = '7'", "1 of 1 rows of stages cannot be read"),
        ("UPDATE coruns SET alone_us = x'00'", "1 of 1 rows of coruns cannot be read"),
        ("UPDATE models SET kernels = '7'", "1 of 1 rows of models cannot be read"),
    ],
)
def test_rows_that_do_not_decode_are_counted(path: Path, statement: str, says: str) -> None:
    change(path, statement)
    text = "\n".join(wrong(path))
    assert re.search(says, text)
    assert str(path) in text
    assert "move it away and measure again" in text


def test_what_sqlite_finds_is_said(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (size,), (page,) = (
            connection.execute(query).fetchone()
            for query in (
                "PRAGMA page_size",
                "SELECT rootpage FROM sqlite_master WHERE name = 'profiles_by_signature'",
            )
        )
    with path.open("r+b") as file:  # the end of the page holds the index's first entry; every row still decodes
        file.seek(page * size - 8)
        file.write(b"nonsense")
    (text,) = wrong(path)
    assert re.search("malformed: .*profiles_by_signature", text)
    assert "measure again, or import an export" in text
