"""The threads behind a pipeline: one line of waiting stages per crew, shutdown without losing or hanging anything."""

from __future__ import annotations

import atexit
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from autotune.errors import PlanError, UsageError
from autotune.processors.cores import pin_thread
from autotune.runtime.crew import Crew, Seat
from autotune.runtime.request import Request, Session, Step, Wiring

Item = tuple[Request, int]
Run = Callable[..., Sequence[Any]]
EXIT_WAIT_S = 10.0
_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()
_CALLBACK = threading.local()


def in_callback() -> bool:
    """Whether this is a worker in a future's callback: waiting for a stage, it could wait for itself."""
    return getattr(_CALLBACK, "under_way", False)


class Engine:
    """Runs requests until it is closed.

    Args:
        steps: the stages.
        wiring: what waits for what among them.
        lines: [S] which crew runs each stage.
        crews: who works.
        depth: requests that may be under way at once.
    """

    def __init__(
        self, steps: Sequence[Step], wiring: Wiring, lines: Sequence[int], crews: Sequence[Crew], depth: int
    ) -> None:
        self._steps = [(_copies(sessions), tuple(gives)) for sessions, _, gives in steps]
        self._wiring = wiring
        queues: list[SimpleQueue[Item | None]] = [SimpleQueue() for _ in crews]
        self._queue_of = [queues[line] for line in lines]
        self._first = [stage for stage, waits in enumerate(wiring.waits) if not waits]
        self._depth = depth
        self._under_way = 0
        self._closing = False
        self._room = threading.Condition()
        self._here = threading.local()
        self._stops = [queue for queue, crew in zip(queues, crews, strict=True) for _ in crew.seats]
        self._workers = [
            threading.Thread(target=self._work, args=(queue, seat), name=f"autotune {crew.lanes[0]} {at}", daemon=True)
            for queue, crew in zip(queues, crews, strict=True)
            for at, seat in enumerate(crew.seats)
        ]
        for worker in self._workers:
            worker.start()
        _ENGINES.add(self)

    @property
    def depth(self) -> int:
        """Requests that may be under way at once."""
        return self._depth

    def submit(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Future[list[Any]]:
        """Starts one inference; waits for room, except in a future's callback, whose worker others may wait for.

        Raises:
            PlanError: it is closed, or is closed meanwhile.
        """
        request = Request(self._wiring, names, feeds, working=self._is_worker)
        with self._room:
            if not in_callback():
                while self._under_way >= self._depth and not self._closing:
                    self._room.wait()
            if self._closing:
                raise PlanError("this plan is closed: load it again")
            self._under_way += 1
        request.future.add_done_callback(lambda future: self._forget(request) if future.cancelled() else None)
        for stage in self._first:
            self._queue_of[stage].put((request, stage))
        return request.future

    def _is_worker(self) -> bool:
        return hasattr(self._here, "worker")

    def _work(self, queue: SimpleQueue[Item | None], seat: Seat) -> None:
        self._here.worker = True
        with contextlib.suppress(UsageError):  # the crew was checked; a mask that shrank since only costs speed
            pin_thread(seat.cores)
        steps = [(sessions[seat.copy % len(sessions)].run, gives) for sessions, gives in self._steps]
        while (item := queue.get()) is not None:
            while item is not None:
                item = self._stage(item, steps, queue)

    def _stage(
        self, item: Item, steps: Sequence[tuple[Run, tuple[str, ...]]], own: SimpleQueue[Item | None]
    ) -> Item | None:
        """Runs one stage; gives the next one where that stands in the same line and nothing else waits there."""
        request, stage = item
        try:
            inputs = request.begin(stage)
            if inputs is None:
                return None
            run, gives = steps[stage]
            made = run(gives, inputs)
            ready = request.hand_on(stage, zip(gives, made, strict=True))
            del inputs, made  # they must not live as long as this worker waits
            if not request.left:
                self._finish(request)
        except BaseException as error:  # noqa: BLE001 - it belongs to the request, the worker goes on
            if self._end(request):
                with _calling_back():
                    request.future.set_exception(error)
            return None
        carried: Item | None = None
        for following in ready:
            if carried is None and self._queue_of[following] is own and own.empty():
                carried = (request, following)
            else:
                self._queue_of[following].put((request, following))
        return carried

    def _finish(self, request: Request) -> None:
        outputs = request.outputs()
        if self._end(request):  # before callbacks run: one of them may submit
            with _calling_back():
                request.future.set_result(outputs)

    def _forget(self, request: Request) -> None:
        request.cancel()
        self._end(request)

    def _end(self, request: Request) -> bool:
        """Makes room for another request; whether this one had not ended before."""
        if not request.end():
            return False
        with self._room:
            self._under_way -= 1
            self._room.notify()
            self._stop_if_done()
        return True

    def _stop_if_done(self) -> None:
        if self._closing and not self._under_way:
            stops, self._stops = self._stops, []
            for queue in stops:
                queue.put(None)

    def retire(self) -> None:
        """Takes no further request; threads end when those under way have."""
        with self._room:
            self._closing = True
            self._room.notify_all()
            self._stop_if_done()

    def close(self, *, longest_s: float | None = None) -> None:
        """As `retire`, and waits for the threads; in one of them (a future's callback) it does not wait.

        Args:
            longest_s: seconds to wait for each thread; None: until it ends.
        """
        self.retire()
        if not self._is_worker():
            for worker in self._workers:
                worker.join(longest_s)


@contextlib.contextmanager
def _calling_back() -> Iterator[None]:
    _CALLBACK.under_way = True
    try:
        yield
    finally:
        _CALLBACK.under_way = False


def _copies(sessions: Session | tuple[Session, ...]) -> tuple[Session, ...]:
    return sessions if isinstance(sessions, tuple) else (sessions,)


@atexit.register
def _close_all() -> None:
    """A native call that is under way while the interpreter goes away would crash it."""
    for engine in list(_ENGINES):
        engine.close(longest_s=EXIT_WAIT_S)
