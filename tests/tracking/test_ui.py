"""The UI server on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psutil
import pytest

from autotune.errors import StoreError, UsageError
from autotune.tracking import MlflowObserver, UiServer, serve_ui
from autotune.tracking.spool import spool_folder


def status(address: str) -> int:
    with build_opener(ProxyHandler({})).open(address, timeout=20) as answer:
        return int(answer.status)


def test_the_server_answers_on_loopback_and_leaves_no_process_behind(home: Path) -> None:
    with UiServer(home) as server:
        assert server.address.startswith("http://127.0.0.1:")
        assert status(server.address) == 200
        family = psutil.Process().children(recursive=True)
        assert family
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    with pytest.raises(URLError):
        status(server.address)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_it_without_an_orphan(home: Path) -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a background shell
        f"from pathlib import Path; from autotune.tracking import serve_ui; serve_ui(Path({str(home)!r}))"
    )
    with subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert status(process.stdout.readline().strip()) == 200
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_closed_terminal_ends_it_as_ctrl_c_does(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    number = getattr(signal, name)
    said: list[str] = []

    def stop(_: UiServer) -> None:
        os.kill(os.getpid(), number)  # the shell's, after the terminal's
        said.append("stopped")

    def wait(_: UiServer) -> int:
        os.kill(os.getpid(), number)
        return 1

    monkeypatch.setattr(UiServer, "start", lambda _: "address")
    monkeypatch.setattr(UiServer, "wait", wait)
    monkeypatch.setattr(UiServer, "stop", stop)

    def own(*_: object) -> None:
        said.append("not handled")

    before = signal.signal(number, own)
    try:
        serve_ui(home, on_ready=said.append)
        assert said == ["address", "stopped"]
        assert signal.getsignal(number) is own
        signal.signal(number, signal.SIG_IGN)
        with pytest.raises(StoreError, match="ended by itself"):
            serve_ui(home, on_ready=said.append)
    finally:
        signal.signal(number, before)


def test_a_port_in_use_is_wrong_usage(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}"):
            UiServer(home, port=port).start()


def test_a_port_that_is_none_is_wrong_usage(home: Path) -> None:
    with pytest.raises(UsageError, match="70000"):
        UiServer(home, port=70000)


def test_what_mlflow_does_not_have_yet_is_logged_before_it_is_shown(
    home: Path, dead_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = MlflowObserver(home)
    observer.event("search_started", {"model": "yolo", "scenario": "Offline"})
    observer.close(timeout_s=30)
    assert list(spool_folder(home).glob("*.jsonl"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    left: list[Path] = []

    def start(_: UiServer) -> str:
        left.extend(spool_folder(home).glob("*.jsonl"))
        return "address"

    monkeypatch.setattr(UiServer, "start", start)
    monkeypatch.setattr(UiServer, "wait", lambda _: 1)
    with pytest.raises(StoreError, match="ended by itself"):
        serve_ui(home)
    assert left == []


def test_a_tracking_server_in_the_environment_is_the_ui(home: Path, dead_server: str) -> None:
    said: list[str] = []
    assert serve_ui(home, on_ready=said.append) == dead_server
    assert said == [dead_server]
