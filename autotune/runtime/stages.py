"""Runs the stages of a plan one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime as ort

from autotune.core import Lane
from autotune.errors import PlanError
from autotune.processors import SessionSpec, create_session

Create = Callable[..., ort.InferenceSession]


def calm(lanes: Sequence[Lane | SessionSpec]) -> list[Lane | SessionSpec]:
    """The lanes as they run together: several sessions of the CPU provider do not spin unless asked to.

    Each has a pool of its own, and a spinning pool slows the session after it for some 26 ms.
    """
    several = sum(isinstance(lane, Lane) and lane.processor == "cpu" for lane in lanes) > 1 or len(lanes) > 1
    calmed: list[Lane | SessionSpec] = []
    for lane in lanes:
        if several and isinstance(lane, Lane) and lane.processor == "cpu" and lane.concurrency.spinning is None:
            lane = replace(lane, concurrency=replace(lane.concurrency, spinning=False))
        calmed.append(lane)
    return calmed


class StageRunner:
    """Sessions of all stages; `run` is thread-safe, arrays are handed over without copies.

    Args:
        files: (ONNX file, lane) of each stage, in the order they run.
        outputs: tensors that `run` gives; any that a stage makes.
        cache: folder for compiled models.
        create: makes a session.
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
        self._outputs = list(outputs)
        self.sessions = [create(path, lane, cache=cache) for (path, _), lane in zip(files, lanes, strict=True)]
        self._takes = [tuple(item.name for item in session.get_inputs()) for session in self.sessions]
        self._gives = [[item.name for item in session.get_outputs()] for session in self.sessions]
        self._check()
        self._done = self._last_uses()
        self.run: Callable[..., list[Any]] = self._run_one if len(self.sessions) == 1 else self._run_all

    def _check(self) -> None:
        made = {name for names in self._gives for name in names}
        missing = [name for name in self._outputs if name not in made]
        if missing:
            raise PlanError(f"no stage makes the output {', '.join(missing)}")

    def _last_uses(self) -> list[tuple[str, ...]]:
        """After each stage: intermediate tensors that nothing needs any more."""
        last: dict[str, int] = {}
        for at, names in enumerate(self._takes):
            last |= dict.fromkeys(names, at)
        made = {name for names in self._gives for name in names} - set(self._outputs)
        return [tuple(name for name in made if last.get(name, -1) == at) for at in range(len(self.sessions))]

    def _run_one(self, names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
        return self.sessions[0].run(self._outputs if names is None else names, feeds, options)  # type: ignore[no-any-return]

    def _run_all(self, names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
        tensors = dict(feeds)
        for session, takes, gives, done in zip(self.sessions, self._takes, self._gives, self._done, strict=True):
            tensors.update(
                zip(gives, session.run(gives, {name: tensors[name] for name in takes}, options), strict=True)
            )
            for name in done:
                del tensors[name]
        return [tensors[name] for name in (self._outputs if names is None else names)]

    def close(self) -> None:
        """Lets go of the sessions."""
        self.sessions = []
