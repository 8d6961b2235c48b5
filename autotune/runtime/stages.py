"""Runs the stages of a plan one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime as ort

from autotune.core import Lane
from autotune.errors import PlanError
from autotune.processors import SessionSpec, create_session
from autotune.runtime.pipeline import Pipeline

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

    Args:
        files: (ONNX file, lane) of each stage, in the order they run.
        outputs: tensors that `run` gives; any that a stage makes.
        cache: folder for compiled models.
        create: makes a session.

    Raises:
        PlanError: no stage makes one of the outputs.
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
        self.lanes = lanes
        self._outputs = list(outputs)
        self.sessions = [create(path, lane, cache=cache) for (path, _), lane in zip(files, lanes, strict=True)]
        self._takes = [tuple(item.name for item in session.get_inputs()) for session in self.sessions]
        self._gives = [[item.name for item in session.get_outputs()] for session in self.sessions]
        self._check()
        self._steps = list(zip(self.sessions, self._takes, self._gives, self._last_uses(), strict=True))
        one = len(self.sessions) == 1
        self.run: Callable[..., list[Any]] = _alone(self.sessions[0], self._outputs) if one else self._run_all

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

    def _run_all(self, names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
        tensors = dict(feeds)
        try:
            for session, takes, gives, done in self._steps:
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

    def pipeline(self, *, threads: int = 1, depth: int | None = None) -> Pipeline:
        """The same sessions as a pipeline, in which requests overlap.

        Args:
            threads: workers of each lane.
            depth: requests under way at once; None: two per worker.
        """
        steps = list(zip(self.sessions, self._takes, self._gives, strict=True))
        return Pipeline(steps, self.lanes, self._outputs, threads=threads, depth=depth)

    def close(self) -> None:
        """Lets go of the sessions; runs that are under way finish."""
        self.run = _closed
        self.sessions = []
        self._steps = []


def _alone(session: ort.InferenceSession, outputs: Sequence[str]) -> Callable[..., list[Any]]:
    """`run` of a single session: nothing between the caller and ONNX Runtime but the default outputs."""

    def run(names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
        return session.run(outputs if names is None else names, feeds, options)  # type: ignore[no-any-return]

    return run


def _closed(*_: Any) -> list[Any]:
    raise PlanError("this plan is closed")
