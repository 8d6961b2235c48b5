"""The worker's side: runs what it is asked to, one request after the other, until its parent is gone.

Started as `python -m autotune.profiler.serve`. Requests come on stdin, answers leave on what was stdout; both are
pickles between a parent and the child that it started itself. What providers print goes to stderr. The end of stdin is
the worker's end, whatever it is at.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import io
import os
import pickle
import queue
import signal
import struct
import sys
import threading
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
    return _opened(_packed(stream))


def _packed(stream: BinaryIO) -> bytes:
    return _exactly(stream, HEADER.unpack(_exactly(stream, HEADER.size))[0])


def _opened(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 - from our own child or parent


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
    """No worker outlives its parent, not even one that hangs in a library which lets no other thread work."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _take(stream: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    """Passes requests on until the parent's end."""
    try:
        while True:
            requests.put(_packed(stream))
    except (EOFError, OSError):
        os._exit(0)


def main() -> None:
    """Serves requests until stdin ends."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "wb", buffering=io.DEFAULT_BUFFER_SIZE)
    os.dup2(2, 1)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(os.fdopen(os.dup(0), "rb"), requests), daemon=True).start()
    while True:
        function, args, options = _opened(requests.get())
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
