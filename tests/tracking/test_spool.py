"""Spool files: written line by line, read after a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.core import Concurrency, Lane
from autotune.errors import SchemaVersionError, StoreError
from autotune.tracking.destination import destination_of
from autotune.tracking.events import Event, flatten, freeze
from autotune.tracking.outbox import Outbox
from autotune.tracking.replay import replay_spool
from autotune.tracking.spool import SCHEMA_VERSION, Spool, owned, read_spool, spool_folder

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(fields=st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=4), data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_events_come_back_as_they_were(tmp_path: Path, fields: list[dict[str, object]], data: st.DataObject) -> None:
    path = tmp_path / "one.jsonl"
    path.unlink(missing_ok=True)
    spool = Spool(path)
    events = tuple(freeze(f"e{at}", field, time_ms=at) for at, field in enumerate(fields))
    for event in events:
        spool.append(event)
    delivered = data.draw(st.integers(0, len(events)))
    spool.mark(delivered, "run")
    content = read_spool(path)
    assert content.events == events
    assert (content.delivered, content.run_id) == (delivered, "run")


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "one.jsonl")
    spool.append(Event(name="a", time_ms=1, fields={}))
    with spool.path.open("a") as file:
        file.write('{"event": "b", "ti')
    assert [event.name for event in read_spool(spool.path).events] == ["a"]


def test_what_replay_notes_is_not_joined_to_a_line_that_was_cut_off(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up(*_: object, **__: object) -> None:
        raise ConnectionError("hung up")

    monkeypatch.setattr("autotune.tracking.replay.connect", lambda _: None)
    writer = SimpleNamespace(run_id="r1", write=lambda _: None, end=hang_up)
    monkeypatch.setattr("autotune.tracking.replay.RunWriter", lambda *_, **__: writer)
    spool = Spool(spool_folder(home) / "one.jsonl")
    spool.append(EVENTS[0])
    with spool.path.open("a") as file:
        file.write('{"event": "b", "ti')
    assert replay_spool(home, warn=lambda _: None) == 0
    content = read_spool(spool.path)
    assert (content.events, content.delivered, content.run_id) == (EVENTS[:1], 1, "r1")


EVENTS = tuple(Event(name=name, time_ms=1, fields={}) for name in "abc")


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file grows beyond `room` bytes; as on a full disk, what is written on the way there stays."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("before", [0, 1], ids=["the head is cut off", "an event is cut off"])
def test_what_a_full_disk_does_not_take_spoils_nothing_else(tmp_path: Path, before: int) -> None:
    spool = Spool(tmp_path / "one.jsonl")
    for event in EVENTS[:before]:
        spool.append(event)
    with full_disk(room=8 + (spool.path.stat().st_size if before else 0)), pytest.raises(OSError, match="large"):
        spool.append(EVENTS[before])
    spool.append(EVENTS[2])
    assert read_spool(spool.path).events == (*EVENTS[:before], EVENTS[2])
    assert spool.count == before + 1


def test_what_mlflow_has_is_counted_among_the_events_on_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Event] = []
    writer = SimpleNamespace(run_id="r1", write=written.append, end=lambda *_, **__: None)
    for name, value in {"connect": None, "check_reachable": None, "RunWriter": writer}.items():
        monkeypatch.setattr(f"autotune.tracking.outbox.{name}", lambda *_, value=value: value)
    spool = Spool(home / "one.jsonl")
    outbox = Outbox(destination_of(home), spool, warn=lambda _: None)
    with full_disk(room=8):
        outbox.add(EVENTS[0])
    outbox.add(EVENTS[1])
    outbox.deliver()
    outbox.add(EVENTS[2])
    assert written == list(EVENTS[:2])
    content = read_spool(spool.path)
    assert (content.events, content.delivered) == (EVENTS[1:], 1)
    assert outbox.finish("FINISHED", time_ms=2)
    assert not spool.path.exists()


def test_a_newer_spool_is_refused_by_name_and_stays(home: Path) -> None:
    path = spool_folder(home) / "one.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}) + "\n")
    with pytest.raises(SchemaVersionError, match=r"one\.jsonl"):
        read_spool(path)
    said: list[str] = []
    assert replay_spool(home, warn=said.append) == 0
    assert "one.jsonl" in said[0]
    assert path.exists()


def test_a_file_that_is_no_spool_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text("hello\n")
    with pytest.raises(StoreError, match="delete it"):
        read_spool(path)


def test_the_spool_of_a_living_search_is_left_alone(home: Path) -> None:
    path = spool_folder(home) / "one.jsonl"
    with owned(path) as mine:
        assert mine
        Spool(path).append(Event(name="search_started", time_ms=1, fields={}))
        assert replay_spool(home) == 0
    assert path.exists()


def test_a_dead_server_leaves_the_spool_as_it_is(home: Path, dead_server: str) -> None:
    spool = Spool(spool_folder(home) / "one.jsonl")
    spool.append(Event(name="search_started", time_ms=1, fields={}))
    said: list[str] = []
    assert replay_spool(home, warn=said.append) == 0
    assert dead_server in said[0]
    assert len(read_spool(spool.path).events) == 1


def test_an_event_is_frozen_when_it_is_told() -> None:
    fields: dict[str, object] = {"lane": Lane(processor="cpu", concurrency=Concurrency(threads=2)), "parts": [1]}
    event = freeze("x", fields, time_ms=5)
    parts = fields["parts"]
    assert isinstance(parts, list)
    parts.append(2)
    assert event.fields["parts"] == [1]
    assert event.fields["lane"]["concurrency"]["threads"] == 2


def test_nested_fields_get_dotted_names_that_mlflow_allows() -> None:
    numbers, texts = flatten({"a": {"within ±10 %": 0.5, "ok": True}, "b": None, "c": ["x", "y"], "d": "text"})
    assert numbers == {"a.within _10 _": 0.5}
    assert texts == {"a.ok": "true", "c": "x, y", "d": "text"}
