"""Export and import of profile records."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autotune.datasets import Store, export_parquet, import_parquet
from autotune.errors import SchemaVersionError, StoreError

TIME = "2026-01-02T00:00:00Z"


@pytest.fixture
def exported(store: Store, made: ModuleType, tmp_path: Path) -> Path:
    store.add([made.record(8), made.failed(16), made.record(8, made.OPENVINO), made.record(8, samples_us=(3.0,))])
    export_parquet(store, tmp_path / "out" / "records.parquet", time=TIME)
    return tmp_path / "out" / "records.parquet"


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'other.db'}")


def test_records_come_back_whole(store: Store, exported: Path, empty: Store) -> None:
    with empty:
        report = import_parquet(empty, exported)
        assert (report.added, report.known, report.refused) == (4, 0, ())
        assert empty.kernels(latest=False) == store.kernels(latest=False)


def test_importing_twice_adds_nothing(exported: Path, empty: Store) -> None:
    with empty:
        import_parquet(empty, exported)
        report = import_parquet(empty, exported)
        assert (report.added, report.known) == (0, 4)
        assert len(empty.kernels(latest=False)) == 4


def test_the_card_says_what_the_file_holds(exported: Path) -> None:
    card = json.loads(exported.with_suffix(".card.json").read_text())
    assert card["records"] == 4
    assert card["failures"] == 1
    assert card["kernels"] == 2
    assert card["devices"] == {"0123456789ab": 4}
    assert card["units"]["samples_us"] == "microseconds"
    assert card["time"] == TIME
    assert "not stated" in card["licence"]
    assert [entry.name for entry in exported.parent.iterdir() if "part" in entry.name] == []


def test_only_one_device_is_exported_when_asked(store: Store, made: ModuleType, tmp_path: Path, empty: Store) -> None:
    store.add([made.record(8), made.record(8, device="feedfeedfeed")])
    export_parquet(store, tmp_path / "r.parquet", time=TIME, device="feedfeedfeed")
    with empty:
        assert import_parquet(empty, tmp_path / "r.parquet").added == 1


def test_nothing_to_export_says_what_to_run(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="autotune profile"):
        export_parquet(store, tmp_path / "r.parquet", time=TIME)


def test_a_place_that_cannot_be_written_is_named(store: Store, made: ModuleType, tmp_path: Path) -> None:
    store.add([made.record()])
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/r\.parquet cannot be written"):
        export_parquet(store, tmp_path / "file" / "r.parquet", time=TIME)


def test_bad_rows_are_refused_with_the_reason_and_good_ones_kept(exported: Path, empty: Store) -> None:
    rows = pq.read_table(exported).to_pylist()
    rows[0]["samples_us"] = [1.0, -2.0]
    rows[1]["failure_kind"] = "sulked"
    rows[2]["signature"] = "0" * 32
    pq.write_table(
        pa.Table.from_pylist([*rows, dict(rows[3]) | {"lane": "{", "signature": rows[3]["signature"]}]), exported
    )
    with empty:
        report = import_parquet(empty, exported)
        assert report.added == 1
        assert [row.row for row in report.refused] == [0, 1, 2, 4]
        assert "positive samples" in report.refused[0].reason
        assert "sulked" in report.refused[1].reason
        assert "0" * 32 in report.refused[2].reason
        assert str(report).startswith("1 records added, 0 known already, 4 refused, the first in row 0:")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("records.parquet", b"PAR1 but not really", "not a Parquet file"),
        ("records.card.json", b"{", "not a card"),
        ("records.card.json", b'{"schema_version": "one"}', "never existed"),
        ("records.card.json", b'{"schema_version": 9}', "schema version 9"),
    ],
)
def test_damaged_files_are_named(exported: Path, empty: Store, name: str, content: bytes, message: str) -> None:
    (exported.parent / name).write_bytes(content)
    with empty, pytest.raises(StoreError, match=message) as caught:
        import_parquet(empty, exported)
    assert isinstance(caught.value, SchemaVersionError) == (message == "schema version 9")


def test_missing_files_and_foreign_columns_are_named(exported: Path, empty: Store, tmp_path: Path) -> None:
    with empty:
        with pytest.raises(StoreError, match=r"absent\.card\.json is missing"):
            import_parquet(empty, tmp_path / "absent.parquet")
        pq.write_table(pa.table({"a": [1]}), exported)
        with pytest.raises(StoreError, match="lacks the columns signature"):
            import_parquet(empty, exported)
        exported.unlink()
        with pytest.raises(StoreError, match="not a Parquet file"):
            import_parquet(empty, exported)
