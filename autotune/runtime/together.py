"""Several models served at the same time, each on its lanes, in turns where they share them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from autotune.errors import PlanError, UnknownNameError
from autotune.runtime.pipeline import Pipeline
from autotune.runtime.stages import StageRunner
from autotune.runtime.turns import Turns

Run = Callable[..., list[Any]]


class Together:
    """Runs requests of several models; thread-safe.

    Each is run as it is alone: on pinned cores by workers that stay on them, whoever calls. Models that take turns wait
    for each other, whichever thread they are called from.

    Args:
        runners: each model's sessions by its name; closed with this.
        turns: groups of models of which only one runs at a time.
        weights: share of the time by model, where several of a group wait; 1 where none is named.
        callers: workers by model for what is submitted; 1 where none is named.

    Raises:
        PlanError: a lane is pinned to cores that this process may not use.
    """

    def __init__(
        self,
        runners: Mapping[str, StageRunner],
        *,
        turns: Sequence[Sequence[str]] = (),
        weights: Mapping[str, float] | None = None,
        callers: Mapping[str, int] | None = None,
    ) -> None:
        self._runners = dict(runners)
        self._callers = dict.fromkeys(runners, 1) | dict(callers or {})
        weighed = dict.fromkeys(runners, 1.0) | dict(weights or {})
        self._runs: dict[str, Run] = {name: runner.run for name, runner in runners.items()}
        self._queues: dict[str, Pipeline] = {}
        for group in turns:
            order = Turns([weighed[name] for name in group])
            for member, name in enumerate(group):
                self._runs[name] = _in_turn(order, member, self._runs[name])
                self._queues[name] = self._queue(name)

    def _queue(self, name: str) -> Pipeline:
        """The line of submitted requests of a model that takes turns: its workers wait for them."""
        runner = self._runners[name]
        step = (_Session(self._runs[name]), runner.inputs, runner.outputs)
        return Pipeline([step], [name], runner.outputs, threads=self._callers[name])

    def run(self, model: str, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Outputs of one inference of a model; waits for its turn where it takes turns.

        Raises:
            UnknownNameError: no model of this name.
            PlanError: inputs or outputs that it does not have, or it is closed.
        """
        return self._find(model)(output_names, feeds)

    def submit(self, model: str, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Future[list[Any]]:
        """Starts one inference of a model and returns at once, unless many of it are under way.

        Raises:
            UnknownNameError: no model of this name.
            PlanError: it is closed.
        """
        self._find(model)
        queue = self._queues.get(model)
        if queue is None:
            queue = self._runners[model].queue(callers=self._callers[model])
        return queue.submit(output_names, feeds)

    def _find(self, model: str) -> Run:
        if not self._runs:
            raise PlanError("this joint plan is closed: load it again")
        if model not in self._runs:
            raise UnknownNameError("model", model, known=list(self._runs))
        return self._runs[model]

    def close(self) -> None:
        """Waits for requests that were submitted, then lets go of all sessions."""
        self._runs = {}
        queues, self._queues = self._queues, {}
        for queue in queues.values():
            queue.close()
        for runner in self._runners.values():
            runner.close()


class _Session:
    """What a pipeline runs as if it were a session: the whole model, in its turn."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Any], _options: Any = None, /) -> Sequence[Any]:
        """Outputs of one inference."""
        return self._run(output_names, feeds)


def _in_turn(order: Turns, member: int, run: Run) -> Run:
    def waiting(names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        with order.turn(member):
            return run(names, feeds)

    return waiting
