"""Workers behind the interface of `concurrent.futures.Executor`, so that a distributed engine can take their place."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from autotune.core import Failure
from autotune.errors import MeasurementError
from autotune.profiler.worker import Worker

T = TypeVar("T")
_Task = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class WorkerExecutor(Executor):
    """n supervised workers; one that is killed fails its own future only.

    Args:
        workers: how many.
        deadline_s: for each call.
    """

    def __init__(self, workers: int = 1, *, deadline_s: float = 3600.0) -> None:
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._deadline_s = deadline_s
        self._workers = [Worker() for _ in range(workers)]
        self._closed = False
        self._threads = [threading.Thread(target=self._serve, args=(w,), daemon=True) for w in self._workers]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Runs a function in a worker; a Failure there becomes a MeasurementError."""
        if self._closed:
            raise RuntimeError("this executor is shut down")
        future: Future[T] = Future()
        self._tasks.put((future, fn, args, kwargs))
        return future

    def _serve(self, worker: Worker) -> None:
        while (task := self._tasks.get()) is not None:
            future, function, args, options = task
            if not future.set_running_or_notify_cancel():
                continue
            found = worker.call(function, *args, deadline_s=self._deadline_s, **options)
            if isinstance(found, Failure):
                future.set_exception(MeasurementError(f"{found.kind}: {found.message}"))
            else:
                future.set_result(found)
        worker.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers, after what they were given unless that is cancelled."""
        self._closed = True
        while cancel_futures and not self._tasks.empty():
            task = self._tasks.get()
            if task is not None:
                task[0].cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
