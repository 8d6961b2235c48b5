"""Export and import of stage records and of models: what a store loses when only kernels come back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autotune.core import Failure, FailureKind
from autotune.datasets import Drawn, Store, export_parquet, import_parquet
from autotune.errors import StoreError, UnknownNameError

MODEL = "a" * 64


@pytest.fixture
def exported(store: Store, made: ModuleType, tmp_path: Path) -> Path:
    store.add([made.record(8), made.record(16), made.record(24)])
    crashed = replace(made.stage(start=4), result=Failure(kind=FailureKind.CRASH, message="signal 11"))
    store.add_stages([made.stage(), made.stage(start=2), crashed])
    store.add_model(MODEL, "first", [made.kernel(8).signature, made.kernel(16).signature])
    store.add_model("b" * 64, "second", [made.kernel(24).signature] * 2)
    path = tmp_path / "out" / "records.parquet"
    export_parquet(store, path, time="2026-01-02T00:00:00Z")
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'other.db'}")


def spoilt(path: Path, part: str, **cells: object) -> None:
    """A part with other values in the first row."""
    beside = path.with_name(f"records.{part}.parquet")
    table = pq.read_table(beside)
    rows = table.to_pylist()
    rows[0].update(cells)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), beside)


def test_a_store_that_is_restored_splits_by_model_as_before(store: Store, exported: Path, empty: Store) -> None:
    with empty:
        report = import_parquet(empty, exported)
        assert report.models is not None
        assert (report.models.added, report.models.known) == (2, 0)
        assert empty.models() == store.models()
        assert empty.groups() == store.groups()
        assert empty.wrong() == []


def test_origins_of_synthetic_kernels_come_back(store: Store, made: ModuleType, exported: Path, empty: Store) -> None:
    store.add_drawn([Drawn(kernel=made.kernel(24), origins=("first",))])
    export_parquet(store, exported)
    with empty:
        import_parquet(empty, exported)
        assert empty.groups()["drawn from first"] == (made.kernel(24).signature,)


def test_stages_come_back_whole_and_once(store: Store, exported: Path, empty: Store) -> None:
    with empty:
        report = import_parquet(empty, exported)
        assert report.stages is not None
        assert (report.stages.added, report.stages.known, report.stages.refused) == (3, 0, ())
        assert empty.stages() == store.stages()
        again = import_parquet(empty, exported)
        assert str(again).splitlines()[1:] == [
            "stages: 0 records added, 3 known already, 0 refused",
            "models: 0 records added, 2 known already, 0 refused",
        ]
        assert empty.counts() == store.counts()


def test_a_model_that_is_known_stays_as_it_is(exported: Path, empty: Store) -> None:
    with empty:
        empty.add_model(MODEL, "own name", ["c" * 32])
        import_parquet(empty, exported)
        assert empty.models()[MODEL] == ("own name", ("c" * 32,))


def test_the_card_names_them(exported: Path) -> None:
    card = json.loads(exported.with_suffix(".card.json").read_text())
    assert (card["stages"]["records"], card["stages"]["failures"]) == (3, 1)
    assert card["stages"]["units"]["samples_us"] == "microseconds"
    assert card["models"]["names"] == ["first", "second"]


def test_of_one_device_only_its_stages_and_models_are_exported(
    store: Store, made: ModuleType, exported: Path, empty: Store
) -> None:
    store.add([made.record(24, device="feedfeedfeed")])
    other = made.stage(start=7)
    store.add_stages([replace(other, kernels=(), identity=replace(other.identity, device="feedfeedfeed"))])
    export_parquet(store, exported, device="feedfeedfeed")
    card = json.loads(exported.with_suffix(".card.json").read_text())
    assert card["models"]["names"] == ["second"]
    assert card["stages"]["devices"] == {"feedfeedfeed": 1}
    with pytest.raises(UnknownNameError, match="unknown device 'nobody'; known: 0123456789ab, feedfeedfeed"):
        export_parquet(store, exported, device="nobody")


def test_an_older_export_of_them_goes(made: ModuleType, exported: Path, tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'kernels.db'}") as kernels:
        kernels.add([made.record()])
        export_parquet(kernels, exported)
    assert sorted(entry.name for entry in exported.parent.iterdir()) == ["records.card.json", "records.parquet"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"samples_us": [0.0]}, r"samples_us: a measurement needs positive samples, got \(0\.0,\)"),
        ({"samples_us": [4e9]}, r"samples_us: 4e\+09 µs is an hour or more"),
        ({"samples_us": None}, "'' is no kind of failure"),
        ({"start": 5, "stop": 5}, r"start, stop, .* are \[5, 5, "),
        ({"bytes_in": None}, r"start, stop, .* are \[0, 2, None, 100\]"),
        ({"predicted_us": float("nan")}, "predicted_us: nan is no time"),
        ({"load_s": -1.0}, r"load_s -1\.0 and peak_bytes"),
        ({"kernels": []}, "kernels: signatures of kernels are wanted"),
        ({"kernels": [None]}, "kernels: signatures of kernels are wanted"),
        ({"model_sha256": ""}, "model_sha256: an empty text"),
        ({"errors": "7"}, "errors: "),
        ({"lane": '{"processor": "quantum:qpu"}'}, "lane: unknown processor 'quantum:qpu'"),
        ({"identity": None}, "identity: an empty cell"),
        ({"notes": "[]"}, "notes: "),
    ],
)
def test_what_is_wrong_with_a_stage_is_said(
    exported: Path, empty: Store, cells: dict[str, object], reason: str
) -> None:
    spoilt(exported, "stages", **cells)
    with empty:
        report = import_parquet(empty, exported).stages
        assert report is not None
        assert (report.added, [row.row for row in report.refused]) == (2, [0])
        assert re.search(reason, report.refused[0].reason), report.refused[0].reason


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"sha256": None}, "sha256: an empty cell"),
        ({"name": ""}, "name: an empty text"),
        ({"kernels": [""]}, "kernels: signatures of kernels are wanted"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(
    exported: Path, empty: Store, cells: dict[str, object], reason: str
) -> None:
    spoilt(exported, "models", **cells)
    with empty:
        report = import_parquet(empty, exported).models
        assert report is not None
        assert (report.added, report.refused[0].row) == (1, 0)
        assert reason in report.refused[0].reason


def test_another_unit_or_a_missing_file_imports_nothing(exported: Path, empty: Store) -> None:
    beside = exported.with_name("records.stages.parquet")
    table = pq.read_table(beside)
    rows = [
        row | {"samples_us": row["samples_us"] and [us * 1e-6 for us in row["samples_us"]]} for row in table.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), beside)
    with empty:
        with pytest.raises(StoreError, match="another unit; nothing was imported"):
            import_parquet(empty, exported)
        beside.unlink()
        with pytest.raises(StoreError, match=r"records\.stages\.parquet is missing"):
            import_parquet(empty, exported)
        assert not any(empty.counts().values())
