"""Runs the stages of a plan one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import onnxruntime as ort

from autotune.core import Lane, serial
from autotune.errors import PlanError
from autotune.processors import SessionSpec, create_session
from autotune.runtime.crew import apart, copies_of, crews_of
from autotune.runtime.engine import in_callback
from autotune.runtime.pipeline import Pipeline
from autotune.runtime.request import Step

Create = Callable[..., ort.InferenceSession]


def calm(lanes: Sequence[Lane | SessionSpec]) -> list[Lane | SessionSpec]:
    """The lanes as they run one after the other: the CPU provider does not spin unless its lane asks for it.

    Every session has a pool of its own, and one that still spins slows the session after it for some 26 ms.
    """
    if len(lanes) < 2:
        return list(lanes)
    return [
        replace(lane, concurrency=replace(lane.concurrency, spinning=False))
        if isinstance(lane, Lane) and lane.processor == "cpu" and lane.concurrency.spinning is None
        else lane
        for lane in lanes
    ]


class StageRunner:
    """Sessions of all stages; `run` is thread-safe, arrays are handed over without copies.

    `run` works at stages one after the other, or at the same time where they do not need each other and their lanes
    have processors or pinned cores of their own.

    Args:
        files: (ONNX file, lane) of each stage, in the order they run.
        outputs: tensors that `run` gives; any that a stage makes.
        cache: folder for compiled models.
        create: makes a session.

    Raises:
        PlanError: no stage makes one of the outputs, or a lane is pinned to cores that this process may not use.
        MissingProcessorError: a processor is not here.
        SessionError: a session could not be created.
    """

    def __init__(
        self,
        files: Sequence[tuple[str | Path, Lane | SessionSpec]],
        outputs: Sequence[str],
        *,
        cache: Path | None = None,
        create: Create = create_session,
    ) -> None:
        lanes = calm([lane for _, lane in files])
        crews_of(lanes)  # before sessions are made: cores that are not here
        self.lanes = lanes
        self._outputs = list(outputs)
        self._copies = [
            tuple(create(path, copy, cache=cache) for copy in copies_of(lane))
            for (path, _), lane in zip(files, lanes, strict=True)
        ]
        self.sessions: list[ort.InferenceSession] = [copies[0] for copies in self._copies]
        self._takes = [tuple(item.name for item in session.get_inputs()) for session in self.sessions]
        self._gives = [[item.name for item in session.get_outputs()] for session in self.sessions]
        self._check()
        self._last = self._last_uses()
        self._steps = list(zip(self.sessions, self._takes, self._gives, self._last, strict=True))
        self._shared: Pipeline | None = None
        self._lock = threading.Lock()
        self.run: Callable[..., list[Any]] = self._how_to_run()

    def _how_to_run(self) -> Callable[..., list[Any]]:
        """`run`, with nothing between the caller and ONNX Runtime that the plan does not need."""
        streams = max(map(len, self._copies))
        crews = crews_of(self.lanes)
        if any(crew.cores for crew in crews):  # the caller's thread computes too, and may be anywhere
            return self.run_on_workers
        if streams == 1 and len(self.sessions) == 1:
            return _alone(self.sessions[0], self._outputs)
        if apart(crews) and not serial([(takes, gives) for _, takes, gives in self._pipeline_steps()]):
            return self.run_on_workers
        if streams == 1:
            return self._run_all
        free: SimpleQueue[int] = SimpleQueue()
        for copy in range(streams):
            free.put(copy)
        chains = [self._of_copy(copy) for copy in range(streams)]

        def run(names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
            copy = free.get()  # as many callers as streams; the next one waits
            try:
                return self._run_all(names, feeds, options, chains[copy])
            finally:
                free.put(copy)

        return run

    def _of_copy(self, copy: int) -> list[tuple[ort.InferenceSession, tuple[str, ...], list[str], tuple[str, ...]]]:
        sessions = [copies[copy % len(copies)] for copies in self._copies]
        return list(zip(sessions, self._takes, self._gives, self._last, strict=True))

    def run_on_workers(self, names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
        """Stages that do not need each other at the same time; in a row with run options, which they would share.

        In a row too in a future's callback, whose worker would otherwise wait for itself.
        """
        if options is not None or in_callback():
            return self._run_all(names, feeds, options)
        return self.queue().submit(names, feeds).result()

    def _check(self) -> None:
        made = {name for names in self._gives for name in names}
        missing = [name for name in self._outputs if name not in made]
        if missing:
            raise PlanError(f"no stage makes the output {', '.join(missing)}; they make {', '.join(sorted(made))}")

    def _last_uses(self) -> list[tuple[str, ...]]:
        """After each stage: intermediate tensors that nothing needs any more."""
        last: dict[str, int] = {}
        for at, (takes, gives) in enumerate(zip(self._takes, self._gives, strict=True)):
            last |= dict.fromkeys((*gives, *takes), at)
        made = {name for names in self._gives for name in names} - set(self._outputs)
        return [tuple(name for name in made if last[name] == at) for at in range(len(self.sessions))]

    def _run_all(
        self, names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None, steps: Any = None
    ) -> list[Any]:
        tensors = dict(feeds)
        try:
            for session, takes, gives, done in steps or self._steps:
                inputs = {name: tensors[name] for name in takes}
                tensors.update(zip(gives, session.run(gives, inputs, options), strict=True))
                del inputs  # else it keeps what is dropped here alive during the next stage
                for name in done:
                    del tensors[name]
            return [tensors[name] for name in (self._outputs if names is None else names)]
        except KeyError as error:
            given, outputs = ", ".join(feeds), ", ".join(self._outputs)
            raise PlanError(f"no tensor {error}: it is neither given ({given}) nor an output ({outputs})") from error

    def stage_times_us(self, feeds: Mapping[str, Any]) -> list[float]:
        """Microseconds of each stage in one run on these inputs, for whoever measures."""
        tensors = dict(feeds)
        times = []
        for session, takes, gives, done in self._steps:
            begin = time.perf_counter()
            tensors.update(zip(gives, session.run(gives, {name: tensors[name] for name in takes}), strict=True))
            for name in done:
                del tensors[name]
            times.append((time.perf_counter() - begin) * 1e6)
        return times

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it takes."""
        made = {name for names in self._gives for name in names}
        return tuple(dict.fromkeys(name for names in self._takes for name in names if name not in made))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that it gives by default."""
        return tuple(self._outputs)

    def pipeline(self, *, threads: int = 1, depth: int | None = None) -> Pipeline:
        """The same sessions as a pipeline, in which requests overlap.

        Args:
            threads: workers of the lanes that are not pinned.
            depth: requests under way at once; None: two per worker.
        """
        return Pipeline(self._pipeline_steps(), self.lanes, self._outputs, threads=threads, depth=depth)

    def queue(self, *, callers: int = 1) -> Pipeline:
        """The one pipeline that `run` and whoever submits have in common, so that no core has two workers.

        It is as the plan was measured, whether `run` or who submits comes first.

        Args:
            callers: of `run` that it was measured with; as many go from stage to stage here, unless `run` leaves the
                stages to workers.

        Raises:
            PlanError: it is closed.
        """
        with self._lock:
            if not self._copies:
                raise PlanError("this plan is closed: load it again")
            if self._shared is None:
                self._shared = self.pipeline(threads=1 if self.run == self.run_on_workers else callers)
            return self._shared

    def _pipeline_steps(self) -> list[Step]:
        return list(zip(self._copies, self._takes, self._gives, strict=True))

    def close(self) -> None:
        """Waits for what was submitted, then lets go of the sessions; runs that are under way finish."""
        self.run = _closed
        with self._lock:
            shared, self._shared, self._copies = self._shared, None, []
        if shared is not None:
            shared.close()
        self.sessions = []
        self._steps = []


def _alone(session: ort.InferenceSession, outputs: Sequence[str]) -> Callable[..., list[Any]]:
    """`run` of a single session: nothing between the caller and ONNX Runtime but the default outputs."""

    def run(names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
        return session.run(outputs if names is None else names, feeds, options)  # type: ignore[no-any-return]

    return run


def _closed(*_: Any) -> list[Any]:
    raise PlanError("this plan is closed")
