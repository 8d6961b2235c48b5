"""The worker's side: runs what it is asked to, one request after the other, until its parent is gone.

Started as `python -m autotune.profiler.serve`. Requests come on stdin, answers leave on what was stdout; both are
pickles
between a parent and the child that it started itself. What providers print goes to stderr.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import io
import os
import pickle
import signal
import struct
import sys
import threading
import time
from typing import Any, BinaryIO

from autotune.core import Failure, FailureKind, one_line
from autotune.errors import AutotuneError, ProcessorError

HEADER = struct.Struct("<Q")
PR_SET_PDEATHSIG = 1


def send(stream: BinaryIO, value: Any) -> None:
    """Writes one value."""
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(HEADER.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Reads one value; EOFError at the end."""
    head = _exactly(stream, HEADER.size)
    return pickle.loads(_exactly(stream, HEADER.unpack(head)[0]))  # noqa: S301 - from our own child or parent


def _exactly(stream: BinaryIO, count: int) -> bytes:
    parts = []
    while count:
        part = stream.read(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def failure_of(error: BaseException) -> Failure:
    """What an exception in a worker means for the measurement."""
    text = one_line(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return Failure(kind=FailureKind.MEMORY, message=text)
    if isinstance(error, ProcessorError):
        return Failure(kind=FailureKind.UNSUPPORTED, message=text)
    if isinstance(error, AutotuneError):
        return Failure(kind=FailureKind.ERROR, message=text)
    return Failure(kind=FailureKind.ERROR, message=f"{type(error).__name__}: {text}")


def _die_with_parent() -> None:
    """No worker outlives its parent."""
    parent = os.getppid()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2.0)
        os._exit(1)

    if sys.platform != "linux" and hasattr(os, "getppid"):
        threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serves requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "wb", buffering=io.DEFAULT_BUFFER_SIZE)
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    while True:
        try:
            function, args, options = receive(requests)
        except EOFError:
            os._exit(0)
        try:
            found = function(*args, **options)
            if inspect.isgenerator(found):
                for item in found:
                    send(answers, ("item", item))
                found = None
            send(answers, ("done", found))
        except BaseException as error:  # noqa: BLE001 - the edge of a worker process
            send(answers, ("done", failure_of(error)))


if __name__ == "__main__":
    main()
