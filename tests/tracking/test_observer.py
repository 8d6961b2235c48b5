"""The observer never stops a search, whatever happens to MLflow."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.core import Observer
from autotune.tracking import MlflowObserver, destination_of, replay_spool
from autotune.tracking.destination import Destination, connect
from autotune.tracking.events import Event
from autotune.tracking.outbox import Outbox
from autotune.tracking.spool import Spool, read_spool, spool_folder


class HangingServer:
    """Answers nothing, or where it is `healthy`, whether it is and nothing else; counts what it left unanswered."""

    def __init__(self) -> None:
        self.healthy = False
        self.hung = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                if self.healthy and connection.recv(4096).startswith(b"GET /health"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
                else:
                    self.hung += 1

    def close(self) -> None:
        for each in (self._listening, *self._open):
            each.close()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("autotune")]


def test_a_dead_server_is_one_warning_and_every_event_is_kept(
    home: Path, dead_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    observer: Observer = MlflowObserver(home)
    assert isinstance(observer, MlflowObserver)
    observer.event("search_started", {"model": "yolo"})
    for step in range(50):
        observer.event("metrics", {"step": step})
    observer.event("search_finished", {"seconds": {}})
    assert observer.run_id(wait_s=60) is None
    observer.close(timeout_s=60)
    assert len(warnings_in(caplog)) == 1
    assert dead_server in warnings_in(caplog)[0]
    (path,) = spool_folder(home).glob("*.jsonl")
    content = read_spool(path)
    assert [event.name for event in content.events] == ["search_started", *["metrics"] * 50, "search_finished"]
    assert content.delivered == 0


def test_a_home_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    observer = MlflowObserver(tmp_path / "file")
    observer.event("search_started", {"model": "yolo"})
    assert observer.run_id(wait_s=60) is None
    observer.close(timeout_s=60)
    assert len(warnings_in(caplog)) == 1


def test_a_field_that_json_does_not_know_becomes_text(home: Path, dead_server: str) -> None:
    observer = MlflowObserver(home)
    observer.event("search_started", {"model": Path("a.onnx"), "what": object})
    observer.close(timeout_s=60)
    (path,) = spool_folder(home).glob("*.jsonl")
    assert read_spool(path).events[0].fields == {"model": "a.onnx", "what": str(object)}


def test_what_a_hanging_server_holds_up_is_kept_when_the_time_is_over(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()

    def hang(_destination: Destination) -> None:
        released.wait(60)
        raise ConnectionError("hung up")

    monkeypatch.setattr("autotune.tracking.outbox.connect", hang)
    observer = MlflowObserver(home)
    observer.event("search_started", {"model": "yolo"})
    assert observer.run_id(wait_s=0.3) is None
    observer.event("metrics", {"step": 1})
    observer.close(timeout_s=0.1)
    (path,) = spool_folder(home).glob("*.jsonl")
    assert [event.name for event in read_spool(path).events] == ["search_started", "metrics"]
    released.set()
    observer._thread.join(60)
    assert path.exists()
    assert any("took longer" in text for text in warnings_in(caplog))


@pytest.fixture
def hanging_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingServer]:
    """A tracking server on this machine that takes connections and never answers; patience is short."""
    monkeypatch.setattr("autotune.tracking.destination.ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr("autotune.tracking.outbox.PATIENCE_S", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    server = HangingServer()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    yield server
    server.close()


@pytest.mark.parametrize("healthy", [False, True], ids=["hangs at once", "hangs when it should write"])
def test_a_server_that_hangs_is_waited_for_once_and_gets_everything_later(
    home: Path,
    tmp_path: Path,
    hanging_server: HangingServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    healthy: bool,
) -> None:
    hanging_server.healthy = healthy
    earlier = Spool(spool_folder(home) / "earlier.jsonl")
    earlier.append(Event(name="search_started", time_ms=1, fields={"model": "unet"}))
    observer = MlflowObserver(home)
    observer.event("search_started", {"model": "yolo"})
    observer.event("metrics", {"step": 1})
    observer.event("search_finished", {"seconds": {}})
    assert observer.run_id(wait_s=60) is None
    observer.close(timeout_s=60)
    assert hanging_server.hung == 1  # by this search; the earlier one is not even tried
    assert [hanging_server.address in text for text in warnings_in(caplog)] == [True]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # SQLite in place of the server that is well again
    assert replay_spool(home) == 2
    client = connect(destination_of(home))
    runs = client.search_runs([client.get_experiment_by_name("autotune").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["unet", "yolo"]


class SlowWriter:
    """Writes the first event at once, and none after it until it is released."""

    def __init__(self) -> None:
        self.run_id = ""
        self.released = threading.Event()

    def write(self, event: Event) -> None:
        if self.run_id:
            self.released.wait(60)
        self.run_id = "r1"

    def end(self, status: str, *, time_ms: int) -> None:
        """Nothing is open."""


def test_a_slow_server_is_waited_for_so_long_in_all_and_the_rest_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = SlowWriter()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setattr("autotune.tracking.observer.SERVER_S", 0.5)
    monkeypatch.setattr("autotune.tracking.outbox.connect", lambda _: None)
    monkeypatch.setattr("autotune.tracking.outbox.check_reachable", lambda _: None)
    monkeypatch.setattr("autotune.tracking.outbox.RunWriter", lambda *_: slow)
    observer = MlflowObserver(home)
    observer.event("search_started", {"model": "yolo"})
    observer.event("metrics", {"step": 1})
    observer.event("search_finished", {"seconds": {}})
    assert observer.run_id(wait_s=60) == "r1"
    observer.close(timeout_s=60)
    assert observer.run_id(wait_s=60) == "r1"
    assert observer._thread.is_alive()
    assert any("longer than 0.5 s" in text for text in warnings_in(caplog))
    (path,) = spool_folder(home).glob("*.jsonl")
    content = read_spool(path)
    assert [event.name for event in content.events] == ["search_started", "metrics", "search_finished"]
    assert (content.delivered, content.run_id) == (1, "r1")
    slow.released.set()
    observer._thread.join(60)


def test_nothing_is_written_while_something_is_measured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring, wrong = threading.Event(), threading.Event()
    delivered = threading.Event()

    def deliver(_outbox: Outbox, *, now: bool = False) -> None:
        (wrong if measuring.is_set() else delivered).set()

    monkeypatch.setattr(Outbox, "deliver", deliver)
    observer = MlflowObserver(home)
    measuring.set()
    observer.event("search_started", {"model": "yolo"})
    observer.event("candidate", {"name": "a"})
    observer.event("candidate", {"name": "b"})
    while not observer._queue.empty():  # taken by the thread
        pass
    measuring.clear()
    observer.event("search_finished", {"interrupted": False})
    assert delivered.wait(60)
    observer.close(timeout_s=60)
    assert not wrong.is_set()


def test_a_second_close_does_nothing(home: Path, dead_server: str) -> None:
    observer = MlflowObserver(home)
    observer.close(timeout_s=60)
    observer.close(timeout_s=60)
    assert list(spool_folder(home).glob("*")) == []
