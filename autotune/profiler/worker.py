"""A supervised worker process: a crash or a hang of a provider is a result, not an accident."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from autotune.core import Failure, FailureKind
from autotune.profiler.serve import receive, send

_END = ("end", None)
GRACE_S = 5.0


class Worker:
    """One process that runs functions of ours, restarted when it died.

    Functions and arguments must be importable or picklable. Not thread-safe: one caller at a time.

    Args:
        environment: further environment variables of the process.
    """

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    @property
    def pid(self) -> int | None:
        """The process's number, None when it does not run."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts the process if it does not run."""
        if self._process is not None and self._process.poll() is None:
            return
        self._answers = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "autotune.profiler.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for the parent, from the first moment on
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | self._environment,
        )
        threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True).start()

    def call(self, function: Callable[..., Any], *args: Any, deadline_s: float, **options: Any) -> Any:
        """What the function returned in the worker, or a Failure."""
        items = list(self.stream(function, *args, deadline_s=deadline_s, **options))
        return items[-1] if items else None

    def stream(
        self,
        function: Callable[..., Any],
        *args: Any,
        deadline_s: float,
        silence_s: float = math.inf,
        **options: Any,
    ) -> Iterator[Any]:
        """Items of a generator function as they come, then its end: a Failure, or what a plain function returned.

        Args:
            function: importable in the worker.
            args: its arguments.
            deadline_s: seconds for all of it; then the worker is killed.
            silence_s: seconds without an item after which it is killed too: what it is at hangs.
            options: its keyword arguments.
        """
        self.start()
        process = self._process
        if process is None or process.stdin is None:
            yield Failure(kind=FailureKind.ERROR, message="the worker could not be started")
            return
        until = time.monotonic() + deadline_s
        finished = False
        try:
            try:
                send(process.stdin, (function, args, options))  # type: ignore[arg-type]
            except OSError:
                finished = True
                yield self._death()
                return
            while True:
                kind, value = self._next(min(until, time.monotonic() + silence_s))
                if kind == "item":
                    yield value
                    continue
                finished = True
                if kind == "end":
                    yield self._death()
                elif kind == "late":
                    silent = time.monotonic() < until
                    self.kill()
                    text = (
                        f"no sign of life for {silence_s:.0f} s" if silent else f"no answer within {deadline_s:.0f} s"
                    )
                    yield Failure(kind=FailureKind.HANG, message=text)
                elif value is not None:
                    yield value
                return
        finally:
            if not finished:  # interrupted or abandoned: what it still does is of no use
                self.kill()

    def _next(self, until: float) -> tuple[str, Any]:
        try:
            return self._answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return ("late", None)

    def _death(self) -> Failure:
        """Why the process ended."""
        process, self._process = self._process, None
        if process is None:
            return Failure(kind=FailureKind.CRASH, message="the worker was ended")
        try:
            code = process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return Failure(kind=FailureKind.CRASH, message="the worker closed its answers and went on")
        finally:
            _close(process.stdin)
        if code == -signal.SIGKILL:
            return Failure(kind=FailureKind.MEMORY, message="killed by signal SIGKILL (out of memory?)")
        if code < 0:
            return Failure(kind=FailureKind.CRASH, message=f"killed by signal {_signal_name(-code)}")
        return Failure(kind=FailureKind.CRASH, message=f"the worker ended with exit code {code}")

    def kill(self) -> None:
        """Ends the process at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close(process.stdin)

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _close(stream: Any) -> None:
    """Closes a pipe whose other end may be gone: what is still buffered is of no use."""
    with contextlib.suppress(OSError):
        stream.close()


def _read(stream: Any, answers: queue.SimpleQueue[tuple[str, Any]]) -> None:
    """Passes answers on until the worker's end."""
    try:
        while True:
            answers.put(receive(stream))
    except (EOFError, OSError, ValueError):
        answers.put(_END)
    finally:
        _close(stream)


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:
        return str(number)
