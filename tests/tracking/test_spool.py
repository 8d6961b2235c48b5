"""Spool files: written line by line, read after a crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.core import Concurrency, Lane
from autotune.errors import SchemaVersionError, StoreError
from autotune.tracking.events import Event, flatten, freeze
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
