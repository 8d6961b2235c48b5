"""What is damaged is said of itself, and keeps nothing else from being listed or checked."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autotune.datasets import Store
from autotune.datasets.public import import_public
from autotune.datasets.public.importing import folder_of
from autotune.errors import InputError
from autotune.terminal.public_data import OWN, print_list, print_verified, verified

BROKEN, SOUND = "nb201_latency", "usc_mobile_gpu_ops"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two public tables and an empty data base of this device."""
    table = pd.DataFrame({"arch_index": [0, 1], "arch_str": ["x", "y"], "help_ms_red": [1.5, 2.0]})
    table.to_parquet(tmp_path / f"{BROKEN}.parquet")
    import_public(tmp_path / f"{BROKEN}.parquet", tmp_path)
    table = pd.DataFrame(
        {
            "framework": "tflite", "model": ["a", "b"], "op_index": [0, 1], "op": "conv_2d", "in_hw": 8.0, "in_c": 16.0,
            "out_hw": 8.0, "out_c": 16.0, "kernel": 3.0, "stride": 1.0, "groups": 1.0, "lat_us_red": [10.0, 20.0],
        }
    )  # fmt: skip
    table.to_parquet(tmp_path / f"{SOUND}.parquet")
    import_public(tmp_path / f"{SOUND}.parquet", tmp_path)
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}"):
        return tmp_path


def wrong(home: Path, *names: str) -> dict[str, list[str]]:
    return {one["name"]: one["wrong"] for one in verified(home, names)}


def rewritten(harm: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        card = json.loads(path.read_text())
        harm(card)
        path.write_text(json.dumps(card))

    return change


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.write_text("{"), "is damaged"),
        (lambda path: path.write_text("[]"), "is damaged"),
        (rewritten(lambda card: card.pop("files")), "files is missing"),
        (rewritten(lambda card: card.update(files=["rows.parquet"])), r"files is \['rows.parquet'\]"),
        (rewritten(lambda card: card.update(latencies="many")), "latencies is 'many'"),
        (rewritten(lambda card: card.update(profile_records=3)), "3 is no table of fields"),
        (rewritten(lambda card: card.update(profile_records={})), "records is missing"),
        (rewritten(lambda card: card.update(schema_version=99)), "schema version 99"),
    ],
)
def test_a_damaged_card_is_one_line_and_the_others_are_checked(
    home: Path, harm: Callable[[Path], object], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(folder_of(home, BROKEN) / "card.json")
    found = wrong(home)
    assert (found[SOUND], found[OWN]) == ([], [])
    (line,) = found[BROKEN]
    assert re.search(says, line)
    print_list(home)
    rows = capsys.readouterr().out.splitlines()
    assert [("damaged" in row) for row in rows if BROKEN[:12] in row or SOUND[:12] in row].count(True) == 1


def test_the_records_of_this_device_are_checked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong(home) == {BROKEN: [], SOUND: [], OWN: []}
    print_verified(verified(home, []))
    assert f"{OWN}: every row can be read" in capsys.readouterr().out
    with closing(sqlite3.connect(home / "profiles.db")) as connection, connection:
        connection.execute("INSERT INTO models VALUES ('a', 'm', '7')")
    found = wrong(home)
    assert "1 of 1 rows of models cannot be read" in found[OWN][0]
    assert found[SOUND] == []
    (home / "profiles.db").write_bytes(b"not a data base" * 1000)
    assert "is damaged" in wrong(home)[OWN][0]


def test_what_was_named_is_all_that_is_checked(home: Path) -> None:
    assert wrong(home, SOUND) == {SOUND: []}
    with pytest.raises(InputError, match="hope_ops was not imported"):
        verified(home, ["hope_ops"])


def test_a_home_without_anything_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_verified(verified(tmp_path, []))
    assert "nothing was measured here" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
