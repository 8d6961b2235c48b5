"""Stages that work at the same time: requests wait in line, a stage runs as soon as its inputs are there."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from autotune.errors import PlanError
from autotune.runtime.crew import crews_of
from autotune.runtime.engine import Engine
from autotune.runtime.request import Step, wire


class Pipeline:
    """Runs requests through stages, each lane with threads of its own.

    Consecutive requests overlap: while one is in its second stage the next is in its first. Stages that do not need
    each other run at the same time where they are on different lanes. An exception in a stage ends that request only.
    A lane with streams has as many workers; one with pinned cores has its workers on them and nobody else's.

    A pipeline that is dropped without `close` ends its threads once the requests under way are done; when the
    interpreter ends it waits for them, some seconds at most.

    Args:
        steps: the stages in a topological order.
        lanes: which lane each stage is on: stages on the same one take turns.
        outputs: what a request gives by default.
        threads: workers of the lanes that are not pinned: one has each lane for itself, several are shared by all.
        depth: requests that may be under way at once; a further one waits in `submit`. None: two per worker.

    Raises:
        PlanError: two stages make the same tensor, or a lane is pinned to cores that this process may not use.
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
        if depth is not None and depth < 1:
            raise PlanError(f"a pipeline needs room for a request, got a depth of {depth}")
        crews = crews_of(lanes, threads=threads)
        line_of = {lane: line for line, crew in enumerate(crews) for lane in crew.lanes}
        workers = sum(len(crew.seats) for crew in crews)
        self._engine = Engine(
            steps,
            wire(steps, outputs),
            [line_of[lane] for lane in lanes],
            crews,
            depth if depth is not None else 2 * workers,
        )
        weakref.finalize(self, self._engine.retire).atexit = False

    @property
    def depth(self) -> int:
        """Requests that may be under way at once."""
        return self._engine.depth

    def submit(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Future[list[Any]]:
        """Starts one inference; waits while as many as `depth` are under way, but never in a future's callback.

        Cancelling the future ends a request of which no stage has begun, and makes room at once.

        Args:
            names: outputs, in which order; None: the default ones.
            feeds: the model's inputs.

        Raises:
            PlanError: the pipeline is closed.
        """
        return self._engine.submit(names, feeds)

    def close(self) -> None:
        """Finishes what is under way, then ends the threads; a second call waits too, one in a callback does not."""
        self._engine.close()
