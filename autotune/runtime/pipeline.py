"""Stages that work at the same time: requests wait in line, a stage runs as soon as its inputs are there."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Protocol

from autotune.errors import PlanError


class Session(Protocol):
    """What a stage needs of a session; `onnxruntime.InferenceSession` has it."""

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Any], options: Any = None, /) -> Sequence[Any]:
        """Outputs of one inference."""


Step = tuple[Session, Sequence[str], Sequence[str]]
"""A session, the tensors it takes, the tensors it gives."""


class _Request:
    """One inference on its way."""

    __slots__ = ("ended", "future", "left", "lock", "names", "tensors", "uses", "waiting")

    def __init__(
        self, names: Sequence[str], feeds: Mapping[str, Any], waiting: list[int], uses: dict[str, int]
    ) -> None:
        self.future: Future[list[Any]] = Future()
        self.lock = threading.Lock()
        self.names = names
        self.tensors = dict(feeds)
        self.waiting = waiting
        self.uses = uses
        self.left = len(waiting)
        self.ended = False


class Pipeline:
    """Runs requests through stages, each lane with threads of its own.

    Consecutive requests overlap: while one is in its second stage the next is in its first. Stages that do not need
    each other run at the same time where they are on different lanes. An exception in a stage ends that request only.

    Args:
        steps: the stages in a topological order.
        lanes: which lane each stage is on: stages on the same one take turns.
        outputs: what a request gives by default.
        threads: workers of each lane.
        depth: requests that may be under way at once; a further one waits in `submit`. None: two per worker.

    Raises:
        PlanError: two stages make the same tensor.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        lanes: Sequence[Hashable],
        outputs: Sequence[str],
        *,
        threads: int = 1,
        depth: int | None = None,
    ) -> None:
        self._steps = list(steps)
        self._outputs = list(outputs)
        maker: dict[str, int] = {}
        for stage, (_, _, gives) in enumerate(steps):
            for name in gives:
                if name in maker:
                    raise PlanError(f"two stages make the tensor {name!r}")
                maker[name] = stage
        needs = [{maker[name] for name in takes if name in maker} for _, takes, _ in steps]
        self._waiting = [len(stages) for stages in needs]
        self._after = [
            [stage for stage, stages in enumerate(needs) if before in stages] for before in range(len(needs))
        ]
        self._uses: dict[str, int] = dict.fromkeys(outputs, 1)
        for _, takes, _ in steps:
            for name in takes:
                self._uses[name] = self._uses.get(name, 0) + 1
        queues: dict[Hashable, SimpleQueue[tuple[_Request, int] | None]] = {lane: SimpleQueue() for lane in lanes}
        self._queues = [queues[lane] for lane in lanes]
        self._workers = [
            threading.Thread(target=self._work, args=(queue,), name=f"autotune {lane} {at}", daemon=True)
            for lane, queue in queues.items()
            for at in range(threads)
        ]
        self._lines = [(queue, threads) for queue in queues.values()]
        self._depth = depth if depth is not None else 2 * len(self._workers)
        self._free = threading.Semaphore(self._depth)
        self._closed = False
        for worker in self._workers:
            worker.start()

    def submit(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Future[list[Any]]:
        """Starts one inference; waits while as many as `depth` are under way.

        Args:
            names: outputs, in which order; None: the default ones.
            feeds: the model's inputs.

        Raises:
            PlanError: the pipeline is closed.
        """
        self._free.acquire()
        if self._closed:
            self._free.release()
            raise PlanError("this plan is closed: load it again")
        wanted = self._outputs if names is None else list(names)
        uses = self._uses | {name: self._uses.get(name, 0) + 1 for name in wanted}
        request = _Request(wanted, feeds, list(self._waiting), uses)
        for stage, waiting in enumerate(self._waiting):
            if not waiting:
                self._queues[stage].put((request, stage))
        return request.future

    def _work(self, queue: SimpleQueue[tuple[_Request, int] | None]) -> None:
        while (item := queue.get()) is not None:
            request, stage = item
            if not self._begin(request):
                continue
            session, takes, gives = self._steps[stage]
            try:
                made = session.run(gives, {name: request.tensors[name] for name in takes})
            except BaseException as error:  # noqa: BLE001 - it belongs to the request, the worker goes on
                self._fail(request, error)
                continue
            self._hand_on(request, stage, takes, zip(gives, made, strict=True))
            del item, request, made

    def _begin(self, request: _Request) -> bool:
        """Whether a stage of it shall still run."""
        with request.lock:
            if request.ended:
                return False
            if request.future.running() or request.future.set_running_or_notify_cancel():
                return True
            request.ended = True  # cancelled
        self._free.release()
        return False

    def _end(self, request: _Request) -> bool:
        """Makes room for another request; whether this one had not ended before."""
        with request.lock:
            first, request.ended = not request.ended, True
        if first:
            self._free.release()
        return first

    def _hand_on(self, request: _Request, stage: int, takes: Sequence[str], made: Any) -> None:
        ready = []
        with request.lock:
            if request.ended:
                return
            tensors, uses = request.tensors, request.uses
            tensors.update(made)
            for name in takes:
                uses[name] -= 1
                if not uses[name]:
                    del tensors[name]
            for after in self._after[stage]:
                request.waiting[after] -= 1
                if not request.waiting[after]:
                    ready.append(after)
            request.left -= 1
            finished = not request.left
        for after in ready:
            self._queues[after].put((request, after))
        if finished:
            unknown = [name for name in request.names if name not in request.tensors]
            if unknown:
                self._fail(request, PlanError(f"no stage makes the output {', '.join(unknown)}"))
            elif self._end(request):  # before callbacks run: one of them may submit
                request.future.set_result([request.tensors[name] for name in request.names])

    def _fail(self, request: _Request, error: BaseException) -> None:
        if self._end(request):
            request.future.set_exception(error)

    def close(self) -> None:
        """Finishes what is under way, then ends the threads; a second call does nothing."""
        if self._closed:
            return
        for _ in range(self._depth):
            self._free.acquire()
        self._closed = True
        for _ in range(self._depth):
            self._free.release()
        for queue, threads in self._lines:
            for _ in range(threads):
                queue.put(None)
        for worker in self._workers:
            worker.join()
