"""The store: what goes in comes out, nothing is lost, damage is told."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.core import Failure, FailureKind, Measurement, ProfileRecord
from autotune.datasets import STORE_SCHEMA_VERSION, Drawn, Store, schema
from autotune.datasets.connect import explain
from autotune.errors import SchemaVersionError, StoreError


def test_records_come_back_as_they_were(store: Store, made: ModuleType) -> None:
    records = [made.record(8), made.failed(16), made.record(8, made.OPENVINO)]
    store.add(records)
    assert store.kernels() == records
    stages = [made.stage(), made.stage(lane=made.OPENVINO)]
    store.add_stages(stages)
    assert store.stages() == stages


results = st.one_of(
    st.builds(
        Measurement,
        samples_us=st.lists(st.floats(min_value=1e-9, max_value=1e12), min_size=1, max_size=20).map(tuple),
        load_s=st.floats(0, 1e6),
        peak_bytes=st.integers(0, 2**60),
    ),
    st.builds(Failure, kind=st.sampled_from(FailureKind), message=st.text(max_size=50)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(result=results)
def test_every_result_survives_to_the_bit(store: Store, made: ModuleType, result: Measurement | Failure) -> None:
    kept = ProfileRecord(
        kernel=made.kernel(), lane=made.CPU, result=result, identity=made.identity(), notes=made.notes()
    )
    store.add([kept])
    assert store.kernels() == [kept]


def test_another_store_on_the_same_file_sees_them(store: Store, url: str, made: ModuleType) -> None:
    with Store(url) as other:
        store.add([made.record(8)])
        assert other.kernels() == [made.record(8)]
        other.add([made.record(8, made.OPENVINO)])  # a kernel that the other one wrote
        assert len(store.kernels()) == 2


def test_the_latest_record_of_a_kernel_on_a_lane_counts(store: Store, made: ModuleType) -> None:
    store.add([made.record(samples_us=(1.0,)), made.record(16)])
    store.add([made.record(samples_us=(2.0,))])
    assert store.kernels() == [made.record(16), made.record(samples_us=(2.0,))]
    assert len(store.kernels(latest=False)) == 3


def test_records_of_another_identity_stand_beside_each_other(store: Store, made: ModuleType) -> None:
    store.add([made.record(version="1"), made.record(version="2"), made.record(device="feedfeedfeed")])
    assert len(store.kernels()) == 3
    assert store.kernels(identity=made.identity(version="2")) == [made.record(version="2")]
    assert store.kernels(device="feedfeedfeed") == [made.record(device="feedfeedfeed")]


def test_conditions_are_joined(store: Store, made: ModuleType) -> None:
    store.add([made.record(c, lane) for c in (8, 16, 24) for lane in (made.CPU, made.OPENVINO)])
    wanted = [made.kernel(16).signature, made.kernel(99).signature]
    assert store.kernels(lanes=[made.CPU], signatures=wanted) == [made.record(16)]
    assert store.kernels(signatures=[]) == []
    assert store.kernels(lanes=[]) == []


def test_known_kernels_are_those_settled_under_this_identity(store: Store, made: ModuleType) -> None:
    store.add(
        [
            made.record(8),
            made.failed(16),
            made.failed(16),
            made.failed(48),
            made.failed(8),
            made.record(24, made.OPENVINO),
            made.record(32, version="2"),
        ]
    )
    signatures = {c: made.kernel(c).signature for c in (8, 16, 24, 32, 40, 48)}
    known = store.known(list(signatures.values()), made.CPU, made.identity())
    assert known == {signatures[8], signatures[16]}


def test_circumstances_are_those_of_this_lane_and_identity(store: Store, made: ModuleType) -> None:
    store.add([made.record(8), made.record(16), made.record(24, made.OPENVINO), made.record(32, version="2")])
    assert set(store.notes(made.CPU, made.identity())) == {made.record(8).notes}
    assert store.notes(made.OPENVINO, made.identity(version="2")) == []


def test_what_was_measured_once_on_a_disturbed_machine_is_worth_another_measurement(
    store: Store, made: ModuleType
) -> None:
    calm = made.record(8)
    circumstances = {
        16: {"sentinel_ratio": 1.2, "sentinel_us": 100.0},
        24: {"sentinel_us": 110.0},
        32: {"sentinel_us": 101.0},
        40: {"sentinel_us": 0.0},
    }
    for channels, found in circumstances.items():
        store.add([replace(made.record(channels), notes=replace(calm.notes, **found))])
    signatures = {channels: made.kernel(channels).signature for channels in circumstances}

    def again() -> set[str]:
        return store.disturbed(list(signatures.values()), made.CPU, made.identity(), fastest_us=100.0)

    assert again() == {signatures[16], signatures[24]}
    store.add([replace(made.record(16), notes=replace(calm.notes, sentinel_ratio=1.3))])
    assert again() == {signatures[24]}  # twice is enough


def test_stages_are_kept_all_and_found_by_model_and_lane(store: Store, made: ModuleType) -> None:
    store.add_stages([made.stage(), made.stage(), made.stage("n" * 64), made.stage(lane=made.OPENVINO)])
    assert len(store.stages()) == 4
    assert len(store.stages(model_sha256="m" * 64, lanes=[made.CPU])) == 2
    assert store.stages(device="feedfeedfeed") == []


def test_models_are_replaced_by_a_later_call(store: Store) -> None:
    store.add_model("b" * 64, "two", ["x"])
    store.add_model("a" * 64, "one", ["x", "y"])
    store.add_model("b" * 64, "two", ["z", "z"])
    assert store.models() == {"a" * 64: ("one", ("x", "y")), "b" * 64: ("two", ("z", "z"))}


def test_one_model_at_two_shapes_is_one_group(store: Store) -> None:
    store.add_model("a" * 64, "yolo", ["x", "y"])
    store.add_model("b" * 64, "yolo", ["z", "y", "z"])
    store.add_model("c" * 64, "vgg16", ["x"])
    assert store.groups() == {"vgg16": ("x",), "yolo": ("x", "y", "z")}


def test_origins_of_synthetic_kernels_are_groups_of_their_own(store: Store, made: ModuleType) -> None:
    one, two, three = (made.kernel(channels) for channels in (8, 16, 24))
    store.add_drawn([Drawn(kernel=one, origins=("net, arXiv 1",)), Drawn(kernel=two, origins=("yolo", "unet"))])
    for _ in range(2):
        store.add_drawn([Drawn(kernel=three, origins=("yolo",))])
    assert store.groups() == {
        "drawn from net, arXiv 1": (one.signature,),
        "drawn from unet": (two.signature,),
        "drawn from yolo": tuple(sorted((two.signature, three.signature))),
    }
    assert store.counts()["models"] == 4  # what is there already is not stored again


def test_nothing_is_added_for_nothing(store: Store) -> None:
    store.add([])
    store.add_stages([])
    assert store.counts() == {"kernels": 0, "profiles": 0, "stages": 0, "coruns": 0, "models": 0}


def test_a_kernel_is_stored_once(store: Store, made: ModuleType) -> None:
    store.add([made.record(8), made.record(8, made.OPENVINO), made.record(8)])
    assert store.counts()["kernels"] == 1
    first, second = store.kernels()
    assert first.kernel is second.kernel


def test_many_processes_write_at_once(url: str, tmp_path: Path, made: ModuleType) -> None:
    script = tmp_path / "writer.py"
    script.write_text(
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('made', {made.__file__!r})\n"
        "made = importlib.util.module_from_spec(spec); spec.loader.exec_module(made)\n"
        "from autotune.datasets import Store\n"
        "with Store(sys.argv[1]) as store:\n"
        "    for n in range(20): store.add([made.record(8 + n, time=sys.argv[2])])\n"
    )
    running = [subprocess.Popen([sys.executable, str(script), url, str(n)]) for n in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    with Store(url) as store:
        assert len(store.kernels(latest=False)) == 60
        assert store.counts()["kernels"] == 20


# what can be wrong with the file


def version_of(url: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = int(connection.execute(sa.text("SELECT version FROM schema_version")).scalar_one())
    engine.dispose()
    return found


def test_an_older_data_base_is_migrated_and_keeps_its_records(
    url: str, made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    monkeypatch.setattr(schema, "STORE_SCHEMA_VERSION", 1)
    with Store(url) as old:
        old.add([made.record()])
    assert version_of(url) == 1
    monkeypatch.undo()
    with Store(url) as new:
        assert new.kernels() == [made.record()]
    assert version_of(url) == STORE_SCHEMA_VERSION


def test_a_newer_data_base_is_refused_and_left_alone(url: str) -> None:
    Store(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version = 99"))
    engine.dispose()
    with pytest.raises(SchemaVersionError, match=r"profiles\.db has schema version 99") as caught:
        Store(url)
    assert (caught.value.found, caught.value.known) == (99, STORE_SCHEMA_VERSION)
    assert version_of(url) == 99


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "profiles.db").write_bytes(b"this is not a data base, whatever its name says " * 50)
    with pytest.raises(StoreError, match=r"profiles\.db.*damaged; move it away"):
        Store(f"sqlite:///{tmp_path / 'profiles.db'}")


def test_a_damaged_row_is_named(store: Store, url: str, made: ModuleType) -> None:
    store.add([made.record()])
    file = sqlite3.connect(url.removeprefix("sqlite:///"))
    file.execute("UPDATE profiles SET lane = '{'")
    file.commit()
    file.close()
    with pytest.raises(StoreError, match="damaged"):
        store.kernels()


def test_a_lost_kernel_is_named(url: str, made: ModuleType) -> None:
    with Store(url) as store:
        store.add([made.record()])
    file = sqlite3.connect(url.removeprefix("sqlite:///"))
    file.execute("DELETE FROM kernels")
    file.commit()
    file.close()
    with Store(url) as store, pytest.raises(StoreError, match=made.kernel().signature):
        store.kernels()


def test_a_full_disk_loses_nothing_that_was_stored(store: Store, made: ModuleType) -> None:
    store.add([made.record(8)])

    def limit(connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite clips it to the pages there are

    sa.event.listen(store._engine, "checkout", limit)
    with pytest.raises(StoreError, match="disk is full; nothing that was stored is lost"):
        store.add([made.record(8 + n) for n in range(500)])
    sa.event.remove(store._engine, "checkout", limit)
    assert store.kernels() == [made.record(8)]


def test_an_io_error_on_a_full_disk_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the disk is full" not in explain(str(tmp_path / "profiles.db"), "disk I/O error")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert "the disk is full" in explain(str(tmp_path / "profiles.db"), "disk I/O error")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing/profiles\.db.*AUTOTUNE_HOME"):
        Store(f"sqlite:///{tmp_path / 'missing' / 'profiles.db'}")


@pytest.mark.parametrize("url", ["no url", "nosuch:///x.db"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:////path"):
        Store(url)


# co-runs


def test_co_runs_come_back_as_they_were_and_the_latest_of_each_counts(store: Store, url: str, made: ModuleType) -> None:
    store.add_coruns([made.corun(8, 16), made.corun(8, 16, beside_us=(3.0,)), made.corun(16, 8), made.corun_failed()])
    assert store.coruns() == [made.corun(8, 16, beside_us=(3.0,)), made.corun(16, 8), made.corun_failed()]
    with Store(url) as other:
        assert other.coruns() == store.coruns()
        assert other.counts()["kernels"] == 3
    assert store.coruns(lanes=(made.OPENVINO, made.CPU)) == []
    assert len(store.coruns(lanes=(made.CPU, made.OPENVINO), identity=made.corun(8).identity)) == 3
    assert store.coruns(device="feedfeedfeed") == []
    store.add_coruns([])


def test_a_data_base_from_before_co_runs_gets_their_table(
    url: str, made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
    monkeypatch.setattr(schema, "STORE_SCHEMA_VERSION", 2)
    Store(url).close()
    file = sqlite3.connect(url.removeprefix("sqlite:///"))
    file.execute("DROP TABLE coruns")
    file.commit()
    file.close()
    monkeypatch.undo()
    with Store(url) as new:
        new.add_coruns([made.corun(8)])
        assert new.coruns() == [made.corun(8)]
