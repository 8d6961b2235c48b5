"""Export and import of co-run records."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autotune.datasets import Store, bulk, export_parquet, import_parquet
from autotune.errors import StoreError


@pytest.fixture
def exported(store: Store, made: ModuleType, tmp_path: Path) -> Path:
    store.add([made.record(8), made.failed(16)])
    store.add_coruns([made.corun(), made.corun_failed(), made.corun(beside_us=(2.0, 2.5)), made.corun(40, 8)])
    path = tmp_path / "out" / "records.parquet"
    export_parquet(store, path, time="2026-01-02T00:00:00Z")
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'other.db'}")


def beside(path: Path) -> Path:
    return path.with_name("records.coruns.parquet")


def spoilt(exported: Path, **cells: object) -> None:
    """The co-runs with other values in the first row."""
    table = pq.read_table(beside(exported))
    rows = table.to_pylist()
    rows[0].update(cells)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), beside(exported))


def test_they_come_back_whole_and_once(store: Store, exported: Path, empty: Store) -> None:
    with empty:
        report = import_parquet(empty, exported)
        assert report.coruns is not None
        assert (report.added, report.coruns.added, report.coruns.known, report.coruns.refused) == (2, 4, 0, ())
        assert empty.coruns(latest=False) == store.coruns(latest=False)
        assert len(empty.coruns()) == 3  # two of the same work
        again = import_parquet(empty, exported)
        assert again.coruns is not None
        assert (again.known, again.coruns.added, again.coruns.known) == (2, 0, 4)
        assert str(again).endswith("\nco-runs: 0 records added, 4 known already, 0 refused")
        assert empty.counts()["coruns"] == 4


def test_the_card_counts_them(exported: Path) -> None:
    card = json.loads(exported.with_suffix(".card.json").read_text())
    assert card["schema_version"] == 3
    held = card["coruns"]
    assert (held["records"], held["failures"]) == (4, 1)
    assert held["lanes"] == {"cpu/f32/t2/nospin beside openvino:cpu/bf16/t1/s2": 4}
    assert held["units"] == {"alone_us": "microseconds", "beside_us": "microseconds"}
    assert sorted(entry.name for entry in exported.parent.iterdir()) == [
        "records.card.json",
        "records.coruns.parquet",
        "records.parquet",
    ]


def test_co_runs_alone_are_an_export_too_and_an_older_file_of_them_goes(
    store: Store, made: ModuleType, tmp_path: Path, empty: Store
) -> None:
    path = tmp_path / "records.parquet"
    store.add_coruns([made.corun()])
    export_parquet(store, path)
    with empty:
        report = import_parquet(empty, path)
        assert report.coruns is not None
        assert (report.added, report.coruns.added) == (0, 1)
        empty.add([made.record()])
    with Store(f"sqlite:///{tmp_path / 'kernels.db'}") as kernels:
        kernels.add([made.record()])
        export_parquet(kernels, path)
        assert not beside(path).exists()
        assert import_parquet(kernels, path).coruns is None


def test_only_those_of_one_device_are_exported_when_asked(
    store: Store, made: ModuleType, tmp_path: Path, empty: Store
) -> None:
    other = made.corun(40)
    store.add_coruns([made.corun(), replace(other, identity=replace(other.identity, device="feedfeedfeed"))])
    export_parquet(store, tmp_path / "records.parquet", device="feedfeedfeed")
    with empty:
        import_parquet(empty, tmp_path / "records.parquet")
        assert [record.identity.device for record in empty.coruns()] == ["feedfeedfeed"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"alone_us": [0.0]}, r"alone_us: a measurement needs positive samples, got \(0\.0,\)"),
        ({"beside_us": [float("nan")]}, "beside_us: a measurement needs positive samples"),
        ({"alone_us": [None]}, "alone_us: a measurement needs positive samples"),
        ({"alone_us": None}, r"alone_us: a measurement needs positive samples, got \(\)"),
        ({"beside_us": [1.0, 2.0]}, "1 rounds alone and 2 beside"),
        ({"beside_us": [4e9]}, r"beside_us: 4e\+09 µs is an hour or more"),
        ({"alone_us": None, "beside_us": None}, "'' is no kind of failure"),
        ({"victim": ["0" * 32] * 2}, f"victim: the kernel is not the one that its signature {'0' * 32} names"),
        ({"victim": []}, "victim: 0 signatures of 2 kernels"),
        ({"beside_kernels": None}, "beside: 1 signatures of 0 kernels"),
        ({"beside_kernels": [None]}, "beside_kernels: an empty cell"),
        ({"beside_kernels": ["{}"]}, r"beside_kernels: Kernel\.family is missing"),
        ({"victim_lane": '{"processor": "quantum:qpu"}'}, "victim_lane: unknown processor 'quantum:qpu'"),
        ({"beside_lane": None}, "beside_lane: an empty cell"),
        ({"identity": '{"device": 5}'}, r"identity: Identity\.device"),
        ({"notes": "[]"}, "notes: "),
    ],
)
def test_what_is_wrong_with_a_row_is_said(exported: Path, empty: Store, cells: dict[str, object], reason: str) -> None:
    spoilt(exported, **cells)
    with empty:
        report = import_parquet(empty, exported).coruns
        assert report is not None
        assert (report.added, [row.row for row in report.refused]) == (3, [0])
        assert re.search(reason, report.refused[0].reason), report.refused[0].reason
        assert empty.counts()["coruns"] == 3
        assert "3 records added, 0 known already, 1 refused, the first in row 0: " in str(report)


def test_a_kernel_of_refused_rows_only_is_not_stored(exported: Path, empty: Store) -> None:
    rows = pq.read_table(beside(exported)).to_pylist()
    schema = pq.read_schema(beside(exported))
    pq.write_table(pa.Table.from_pylist([rows[3] | {"alone_us": [-1.0]}], schema=schema), beside(exported))
    with empty:
        import_parquet(empty, exported)
        assert empty.counts()["kernels"] == 2


def test_another_unit_or_type_or_a_missing_file_imports_nothing(exported: Path, empty: Store) -> None:
    table = pq.read_table(beside(exported))
    rows = [
        row | {name: row[name] and [us * 1e-6 for us in row[name]] for name in ("alone_us", "beside_us")}
        for row in table.to_pylist()
    ]
    with empty:
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), beside(exported))
        with pytest.raises(StoreError, match="another unit; nothing was imported"):
            import_parquet(empty, exported)
        at = table.schema.get_field_index("victim")
        pq.write_table(table.set_column(at, "victim", pa.array([1] * 4)), beside(exported))
        with pytest.raises(StoreError, match=r"records\.coruns\.parquet: the column victim holds no lists of texts"):
            import_parquet(empty, exported)
        pq.write_table(table.drop_columns(["notes"]), beside(exported))
        with pytest.raises(StoreError, match="lacks the columns notes"):
            import_parquet(empty, exported)
        beside(exported).unlink()
        with pytest.raises(StoreError, match=r"records\.coruns\.parquet is missing"):
            import_parquet(empty, exported)
        card = exported.with_suffix(".card.json")
        held = json.loads(card.read_text())
        card.write_text(json.dumps(held | {"coruns": held["coruns"] | {"units": {"alone_us": "ms"}}}))
        with pytest.raises(StoreError, match=r"gives the units \{'alone_us': 'ms'\}"):
            import_parquet(empty, exported)
        assert not any(empty.counts().values())


def test_an_import_cut_short_among_the_co_runs_leaves_no_profile_record(
    exported: Path, empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter(range(4))  # two profile records, two of four co-runs
    monkeypatch.setattr(bulk, "_BATCH", 1)
    monkeypatch.setattr(bulk, "_unseen", lambda *_: next(taken) >= 0)
    with empty:
        with pytest.raises(RuntimeError):
            import_parquet(empty, exported)
        assert not any(empty.counts().values())


def test_a_card_of_version_1_has_none(store: Store, made: ModuleType, tmp_path: Path, empty: Store) -> None:
    path = tmp_path / "records.parquet"
    store.add([made.record()])
    card = export_parquet(store, path)
    card.write_text(json.dumps(json.loads(card.read_text()) | {"schema_version": 1}))
    with empty:
        assert str(import_parquet(empty, path)) == "1 records added, 0 known already, 0 refused"
