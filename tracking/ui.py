"""MLflow's own UI on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from autotune.errors import StoreError, UsageError
from autotune.tracking.destination import destination_of
from autotune.tracking.replay import replay_spool

HOST = "127.0.0.1"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 5.0


class UiServer:
    """An `mlflow server` process on loopback that shows the home folder's searches; a context manager.

    Args:
        home: whose searches.
        port: where it listens; None takes a free one.
    """

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        if port is not None and not 0 < port < 65536:
            raise UsageError(f"the port must be between 1 and 65535, got {port}")
        self._home = home
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def start(self, *, deadline_s: float = START_DEADLINE_S) -> str:
        """Starts the server and waits until it answers.

        Returns:
            Its address.

        Raises:
            UsageError: the port is in use.
            StoreError: the server did not start.
        """
        port = self._port or 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise UsageError(
                    f"port {port} on {HOST} is in use ({error.strerror}); leave --port out to take a free one"
                ) from error
            port = probe.getsockname()[1]
        self.address = f"http://{HOST}:{port}"
        self._home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                self._command(port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
            try:
                self._wait_until_it_answers(deadline_s)
            except BaseException as error:
                self.stop()
                if isinstance(error, TimeoutError):
                    log.seek(0)
                    tail = log.read().decode(errors="replace").strip()[-2000:]
                    raise StoreError(f"mlflow server did not start: {error}\n{tail}") from error
                raise
        return self.address

    def wait(self) -> int:
        """Waits until the server ends.

        Returns:
            Its exit code.
        """
        return self._process.wait() if self._process is not None else 0

    def stop(self) -> None:
        """Ends the server and every process that it started; a second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))
            process.wait()

    def __enter__(self) -> UiServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self, port: int) -> list[str]:
        destination = destination_of(self._home)
        return [
            *(sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", destination.uri),
            *("--artifacts-destination", destination.artifacts, "--default-artifact-root", destination.artifacts),
        ]

    def _wait_until_it_answers(self, deadline_s: float) -> None:
        opener = build_opener(ProxyHandler({}))  # loopback never goes through a proxy
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise TimeoutError(f"it ended with exit code {self._process.returncode}")
            try:
                with opener.open(f"{self.address}/health", timeout=2):
                    return
            except (URLError, OSError):
                time.sleep(0.1)
        raise TimeoutError(f"no answer within {deadline_s:g} s")


def serve_ui(home: Path, port: int | None = None, *, on_ready: Callable[[str], None] | None = None) -> str:
    """Shows the home folder's searches until Ctrl-C, or the terminal is closed; the server ends with this call.

    Searches that MLflow does not have yet (it was not reachable, or they were interrupted) are logged first.
    Where `MLFLOW_TRACKING_URI` names a tracking server, that server shows them: its address is returned at once.

    Args:
        home: whose searches.
        port: where it listens; None takes a free one.
        on_ready: is told the address once it answers; by default it is printed.

    Returns:
        The address.

    Raises:
        UsageError: the port is in use.
        StoreError: the server did not start.
    """
    on_ready = on_ready or _print_address
    replay_spool(home)
    destination = destination_of(home)
    if destination.is_server:
        on_ready(destination.uri)
        return destination.uri
    server = UiServer(home, port=port)
    restore = _end_like_interrupt()
    try:
        on_ready(server.start())
        code = server.wait()
    except KeyboardInterrupt:
        return server.address
    finally:
        server.stop()
        restore()
    raise StoreError(f"mlflow server ended by itself with exit code {code}")


def _print_address(address: str) -> None:
    print(address, flush=True)


def _environment() -> dict[str, str]:
    extra = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return os.environ | extra


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)  # its own group: start_new_session
        else:
            process.terminate()
    except ProcessLookupError:
        pass


def _end_like_interrupt() -> Callable[[], None]:
    """Lets SIGTERM and a closed terminal end the server as Ctrl-C does; gives what undoes it.

    The server has a session of its own: no signal of the terminal reaches it. What is ignored (`nohup`) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    numbers = (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in before:  # a shell sends another one after the terminal's: the server must end in peace
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, interrupt)
    return restore
