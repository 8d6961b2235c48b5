"""One inference on its way through the stages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from autotune.errors import PlanError


class Session(Protocol):
    """What a stage needs of a session; `onnxruntime.InferenceSession` has it."""

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Any], options: Any = None, /) -> Sequence[Any]:
        """Outputs of one inference."""


Step = tuple["Session | tuple[Session, ...]", Sequence[str], Sequence[str]]
"""A session, or its copies; the tensors it takes; the tensors it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What waits for what.

    Args:
        takes: [S] tensors that each stage takes.
        waits: [S] how many stages each needs.
        after: [S] stages that need each.
        uses: how often a tensor is needed, the default outputs included.
        outputs: default outputs.
    """

    takes: tuple[tuple[str, ...], ...]
    waits: tuple[int, ...]
    after: tuple[tuple[int, ...], ...]
    uses: Mapping[str, int]
    outputs: tuple[str, ...]


def wire(steps: Sequence[Step], outputs: Sequence[str]) -> Wiring:
    """What waits for what.

    Raises:
        PlanError: two stages make the same tensor.
    """
    maker: dict[str, int] = {}
    for stage, (_, _, gives) in enumerate(steps):
        for name in gives:
            if name in maker:
                raise PlanError(f"two stages make the tensor {name!r}")
            maker[name] = stage
    needs = [{maker[name] for name in takes if name in maker} for _, takes, _ in steps]
    uses: dict[str, int] = dict.fromkeys(outputs, 1)
    for _, takes, _ in steps:
        for name in takes:
            uses[name] = uses.get(name, 0) + 1
    return Wiring(
        takes=tuple(tuple(takes) for _, takes, _ in steps),
        waits=tuple(len(stages) for stages in needs),
        after=tuple(tuple(s for s, stages in enumerate(needs) if before in stages) for before in range(len(needs))),
        uses=uses,
        outputs=tuple(outputs),
    )


class Answer(Future[list[Any]]):
    """The future of a request; the workers that are to make it must not wait for it without end.

    Args:
        working: whether the calling thread is one of those workers.
    """

    def __init__(self, working: Callable[[], bool]) -> None:
        super().__init__()
        self._working = working

    def result(self, timeout: float | None = None) -> list[Any]:
        """As of any future.

        Raises:
            PlanError: it is asked for without a time-out in a callback of the same plan before it is done.
        """
        self._refuse_to_hang(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As of any future; errors as of `result`."""
        self._refuse_to_hang(timeout)
        return super().exception(timeout)

    def _refuse_to_hang(self, timeout: float | None) -> None:
        if timeout is None and not self.done() and self._working():
            raise PlanError(
                "a future's callback runs in a worker of its plan, which would wait here for itself: "
                "call `run` in the callback, give the new future a callback of its own, or wait in another thread"
            )


class Request:
    """Counts the inputs that each stage still waits for; lets go of tensors that nothing needs any more.

    Args:
        wiring: what waits for what.
        names: outputs that it gives; None: the default ones.
        feeds: its inputs.
        working: whether the calling thread is a worker that makes such requests.
    """

    __slots__ = ("_lock", "_names", "_tensors", "_told", "_uses", "_waiting", "_wiring", "ended", "future", "left")

    def __init__(
        self,
        wiring: Wiring,
        names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        *,
        working: Callable[[], bool] = lambda: False,
    ) -> None:
        self.future = Answer(working)
        self.ended = False
        self._told = False  # whether the future knows that it runs, or never will
        self.left = len(wiring.takes)
        self._lock = threading.Lock()
        self._wiring = wiring
        self._names = wiring.outputs if names is None else tuple(names)
        self._tensors = dict(feeds)
        self._waiting = list(wiring.waits)
        self._uses = dict(wiring.uses)
        for name in () if names is None else self._names:
            self._uses[name] = self._uses.get(name, 0) + 1

    def begin(self, stage: int) -> dict[str, Any] | None:
        """Inputs of a stage; None where the request has ended before, or is cancelled.

        Raises:
            PlanError: an input is not there.
        """
        with self._lock:
            if self.ended or not self._tell():
                return None
            try:
                return {name: self._tensors[name] for name in self._wiring.takes[stage]}
            except KeyError as error:
                raise PlanError(f"no tensor {error}: it is neither given nor made by a stage") from None

    def cancel(self) -> None:
        """Tells those who wait for the future that it was cancelled."""
        with self._lock:
            self._tell()

    def _tell(self) -> bool:
        """Whether the request runs."""
        if not self._told:
            self._told = True
            return self.future.set_running_or_notify_cancel()
        return not self.future.cancelled()

    def hand_on(self, stage: int, made: Iterable[tuple[str, Any]]) -> list[int]:
        """Takes what a stage made; gives the stages that can begin now."""
        ready = []
        with self._lock:
            if self.ended:
                return []
            tensors, uses = self._tensors, self._uses
            tensors.update(made)
            for name in self._wiring.takes[stage]:
                uses[name] -= 1
                if not uses[name]:
                    del tensors[name]
            for after in self._wiring.after[stage]:
                self._waiting[after] -= 1
                if not self._waiting[after]:
                    ready.append(after)
            self.left -= 1
        return ready

    def outputs(self) -> list[Any]:
        """What it gives, once no stage is left.

        Raises:
            PlanError: no stage makes one of them.
        """
        unknown = [name for name in self._names if name not in self._tensors]
        if unknown:
            raise PlanError(f"no stage makes the output {', '.join(unknown)}")
        return [self._tensors[name] for name in self._names]

    def end(self) -> bool:
        """Marks it as ended and lets go of its tensors; whether it had not ended before."""
        with self._lock:
            first, self.ended = not self.ended, True
            self._tensors = {}
        return first
