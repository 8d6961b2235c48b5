"""Export and import of profile and co-run records."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autotune.core import Lane
from autotune.datasets import Store, export_parquet, import_parquet
from autotune.datasets.parquet import is_export
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


def test_a_folder_is_no_file_to_write(store: Store, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exported.parent)
    with pytest.raises(StoreError, match=r"\. is a folder"):
        export_parquet(store, ".")


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


def spoilt(exported: Path, **cells: object) -> None:
    """The exported file with other values in its first row; None leaves a cell empty."""
    table = pq.read_table(exported)
    rows = table.to_pylist()
    rows[0].update(cells)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), exported)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"samples_us": [0.0, 2.0]}, r"positive samples, got \(0\.0, 2\.0\)"),
        ({"samples_us": [float("nan")]}, "positive samples"),
        ({"samples_us": [1.0, None]}, "positive samples"),
        ({"samples_us": []}, r"positive samples, got \(\)"),
        ({"samples_us": [1.0, 4e9]}, r"4e\+09 µs is an hour or more"),
        ({"samples_us": [float("inf")]}, "inf µs is an hour or more"),
        ({"samples_us": None}, "'' is no kind of failure"),
        ({"load_s": -1.0}, r"load_s -1\.0"),
        ({"load_s": None}, "load_s nan"),
        ({"peak_bytes": None}, "peak_bytes nan"),
        ({"kernel": None}, "kernel: an empty cell"),
        ({"kernel": "{}"}, r"kernel: Kernel\.family is missing"),
        ({"identity": '{"device": 5}'}, r"identity: Identity\.device"),
        ({"notes": '{"time": "now", "code_version": "0", "mood": "good", "load_average": "high"}'}, "notes: .*load_av"),
        ({"lane": '{"processor": "quantum:qpu"}'}, "unknown processor 'quantum:qpu': `cpu`, or"),
        ({"lane": '{"processor": "cpu", "precision": "f99"}'}, "lane: .*f99"),
        ({"signature": None}, "its signature None names"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(exported: Path, empty: Store, cells: dict[str, object], reason: str) -> None:
    spoilt(exported, **cells)
    with empty:
        report = import_parquet(empty, exported)
        assert report.added == 3
        assert [row.row for row in report.refused] == [0]
        assert re.search(reason, report.refused[0].reason), report.refused[0].reason
        assert len(empty.kernels(latest=False)) == 3


def test_a_row_that_stands_twice_in_a_file_is_added_once(exported: Path, empty: Store) -> None:
    table = pq.read_table(exported)
    pq.write_table(pa.concat_tables([table, table.slice(1, 1)]), exported)
    with empty:
        report = import_parquet(empty, exported)
        assert (report.added, report.known, report.refused) == (4, 1, ())


@pytest.mark.parametrize("lane", ["cpu/f32/t2", "webgpu:gpu/f16"])
def test_latencies_that_no_processor_reaches_are_another_unit(
    lane: str, made: ModuleType, tmp_path: Path, empty: Store
) -> None:
    fastest_us = 1e9 / {"cpu": 2e13, "webgpu:gpu": 1e15}[lane.partition("/")[0]] * 1e6
    kernels = [replace(made.kernel(8 * n), family="convolution", flops=10**9) for n in (1, 2, 3)]
    activation = replace(made.kernel(80), flops=10**9)
    fused = replace(made.record(80, Lane.parse(lane)), kernel=activation, result=made.measurement(0.05))

    def written(factor: float) -> Path:
        records = [
            replace(fused, kernel=kernel, result=made.measurement(share * factor * fastest_us))
            for kernel, share in zip(kernels, (0.1, 0.9, 2.0), strict=True)
        ]
        with Store(f"sqlite:///{tmp_path / f'{factor}.db'}") as one:
            one.add([*records, fused])
            export_parquet(one, tmp_path / f"{factor}.parquet", time=TIME)
        return tmp_path / f"{factor}.parquet"

    with empty:
        assert import_parquet(empty, written(1.01)).added == 4  # one kernel alone is ten times too fast: marginal
        with pytest.raises(StoreError, match=rf"{lane} would compute .* FLOP/s, .* unit; nothing was imported"):
            import_parquet(empty, written(0.99))


def test_nanoseconds_read_as_microseconds_are_too_slow_for_any_cpu(
    made: ModuleType, tmp_path: Path, empty: Store
) -> None:
    def written(unit: float) -> Path:
        kernels = [replace(made.kernel(8 * n), family="convolution", flops=n * 10**6) for n in (1, 2, 3)]
        records = [
            replace(made.record(8, Lane.parse("cpu/f32/t1")), kernel=kernel, result=made.measurement(unit * us))
            for kernel, us in zip(kernels, (60.0, 100.0, 140.0), strict=True)
        ]
        with Store(f"sqlite:///{tmp_path / f'{unit}.db'}") as one:
            one.add(records)
            export_parquet(one, tmp_path / f"{unit}.parquet", time=TIME)
        return tmp_path / f"{unit}.parquet"

    with empty:
        assert import_parquet(empty, written(1.0)).added == 3
        with pytest.raises(StoreError, match=r"cpu/f32/t1 would compute 2e\+07 FLOP/s, any such lane 1e\+08: .* unit"):
            import_parquet(empty, written(1e3))


def test_a_file_in_another_unit_imports_nothing(exported: Path, empty: Store) -> None:
    table = pq.read_table(exported)
    rows = [
        row | {"samples_us": row["samples_us"] and [us * 1e-6 for us in row["samples_us"]]} for row in table.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), exported)
    with (
        empty,
        pytest.raises(StoreError, match=r"the median would be [\d.]+e-06 µs, .* another unit; nothing was imported"),
    ):
        import_parquet(empty, exported)
    card = exported.with_suffix(".card.json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"units": {"samples_us": "milliseconds"}}))
    with empty, pytest.raises(StoreError, match=r"gives the units .*milliseconds"):
        import_parquet(empty, exported)
    with empty:
        assert empty.counts()["profiles"] == empty.counts()["kernels"] == 0


def test_a_column_of_another_type_imports_nothing(exported: Path, empty: Store) -> None:
    table = pq.read_table(exported)
    for name, values in (("samples_us", ["a"] * 4), ("load_s", ["b"] * 4)):
        at = table.schema.get_field_index(name)
        pq.write_table(table.set_column(at, name, pa.array(values)), exported)
        with empty, pytest.raises(StoreError, match=f"the column {name} holds no"):
            import_parquet(empty, exported)


def test_a_file_without_rows_adds_nothing(exported: Path, empty: Store) -> None:
    pq.write_table(pq.read_table(exported).slice(0, 0), exported)
    with empty:
        assert str(import_parquet(empty, exported)) == "0 records added, 0 known already, 0 refused"


def test_an_import_that_is_cut_short_leaves_nothing(
    exported: Path, empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autotune.datasets import bulk

    monkeypatch.setattr(bulk, "_BATCH", 2)
    taken = iter(range(3))
    monkeypatch.setattr(bulk, "_unseen", lambda held, value: next(taken) >= 0)
    with empty:
        with pytest.raises(RuntimeError):
            import_parquet(empty, exported)
        assert empty.counts()["profiles"] == empty.counts()["kernels"] == 0


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


def test_an_export_whose_card_is_lost_is_still_an_export(exported: Path, empty: Store) -> None:
    assert is_export(exported)
    exported.with_suffix(".card.json").unlink()
    assert is_export(exported)
    with empty, pytest.raises(StoreError, match=r"card\.json is missing"):
        import_parquet(empty, exported)
    exported.write_bytes(b"PAR1 but not really")
    assert not is_export(exported)


def test_missing_files_and_foreign_columns_are_named(exported: Path, empty: Store, tmp_path: Path) -> None:
    with empty:
        with pytest.raises(StoreError, match=r"absent\.card\.json is missing"):
            import_parquet(empty, tmp_path / "absent.parquet")
        pq.write_table(pa.table({"a": [1]}), exported)
        with pytest.raises(StoreError, match="lacks the columns signature"):
            import_parquet(empty, exported)
        exported.unlink()
        with pytest.raises(StoreError, match=r"records\.parquet is missing"):
            import_parquet(empty, exported)
