"""A plan that is ready to run."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from autotune.core import DEFAULT_LANE, STAND_INS, Lane, Plan, TensorSpec
from autotune.errors import MissingProcessorError, PlanError, SessionError
from autotune.processors import discover, resolve, this_device
from autotune.runtime.crew import outside_of_mask
from autotune.runtime.folder import check_hashes, own_cache, plan_of, read_data
from autotune.runtime.named import named_session
from autotune.runtime.stages import StageRunner

CHEAP_BYTES = 50_000_000
Expectation = tuple[str, "np.dtype[Any] | None", "tuple[int, ...] | None"]


def load_plan(
    folder: str | Path, *, fallback: bool = False, verify: bool | None = None, cache: Path | None = None
) -> LoadedPlan:
    """A plan that is ready to run.

    Args:
        folder: the plan.
        fallback: whether the whole model in one session of the CPU provider may stand in where a processor is missing,
            or does not work, where cores may not be used, and for inputs of other shapes.
        verify: whether every file is compared with its hash first; None: where that costs little (below 50 MB).
        cache: folder for compiled models, so that a plan loads fast the second time where its provider can use one;
            each plan has a folder of its own in there, named by the contents of its files.

    Raises:
        PlanError: the plan is damaged, this machine lacks a processor or precision of it, or it is pinned to cores that
            this process may not use.
        SchemaVersionError: a newer autotune wrote it.
        SessionError: a session could not be created.
        StoreError: the cache cannot be written.
    """
    place = Path(folder)
    data = read_data(place)
    if verify or (verify is None and sum(entry["bytes"] for entry in data["files"].values()) < CHEAP_BYTES):
        check_hashes(place, data)
    plan = plan_of(place, data)
    whole = place / str(data["whole"])
    stages: list[tuple[Path, Lane]] = [(place / stage.file, stage.lane) for stage in plan.stages]
    missing = _missing(plan)
    if missing and not fallback:
        raise PlanError(
            f"the plan {place} needs {missing}, which this machine does not have (it was made on {plan.device.name}). "
            "Search again here, or load it with fallback=True (on the command line --fallback): the whole model "
            "then runs on the CPU provider."
        )
    outside = outside_of_mask([lane for _, lane in stages])
    if outside and not missing and not fallback:
        raise PlanError(
            f"{outside} (the plan {place}). Search again here, start it with another affinity, or load it with "
            "fallback=True (on the command line --fallback): the whole model then runs on the CPU provider."
        )
    if not missing and not outside:
        try:
            own = own_cache(cache, plan, data)
            return LoadedPlan(plan, stages, whole=whole if fallback else None, cache=own)
        except SessionError as error:
            if not fallback:
                raise
            reason = str(error)
    else:
        reason = f"this machine does not have {missing}" if missing else outside
    return LoadedPlan(plan, [(whole, DEFAULT_LANE)], whole=whole, fallback_reason=reason)


def _missing(plan: Plan) -> str:
    """Processors of the plan that are not here, and precisions: tried only on another device than the plan's own."""
    lacking = []
    elsewhere = plan.device.id != this_device().id
    for lane in dict.fromkeys(stage.lane for stage in plan.stages):
        try:
            if elsewhere and not lane.precision.is_reference:
                if lane.precision not in discover().get(lane.processor).precisions:
                    lacking.append(f"{lane.precision} on {lane.processor}")
            else:
                resolve(lane.processor)
        except MissingProcessorError:
            lacking.append(lane.processor)
    return ", ".join(dict.fromkeys(lacking))


class LoadedPlan:
    """A plan with its sessions; `run` is that of `onnxruntime.InferenceSession` and thread-safe.

    Args:
        plan: what it runs.
        stages: (ONNX file, lane), in the order they run.
        whole: file with the whole model, which stands in for inputs of other shapes; None: they are refused.
        cache: folder for compiled models.
        fallback_reason: why the whole model runs in place of the stages; empty where they run.
    """

    def __init__(
        self,
        plan: Plan,
        stages: Sequence[tuple[Path, Lane]],
        *,
        whole: Path | None = None,
        cache: Path | None = None,
        fallback_reason: str = "",
    ) -> None:
        self.plan = plan
        self.fallback_reason = fallback_reason
        self._names = [spec.name for spec in plan.model.outputs]
        self._known = frozenset(self._names)
        self._inputs = {spec.name for spec in plan.model.inputs}
        self._expected = [_expectation(spec) for spec in plan.model.inputs]
        self._runner: StageRunner | None = StageRunner(stages, self._names, cache=cache, create=named_session)
        self._whole_path = whole
        self._whole: StageRunner | None = None
        self._lock = threading.Lock()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self.plan.model.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives."""
        return self.plan.model.outputs

    def get_inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes, under ONNX Runtime's name."""
        return self.plan.model.inputs

    def get_outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives, under ONNX Runtime's name."""
        return self.plan.model.outputs

    @property
    def runner(self) -> StageRunner:
        """Its sessions.

        Raises:
            PlanError: it is closed.
        """
        if self._runner is None:
            raise PlanError("this plan is closed: load it again")
        return self._runner

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], run_options: Any = None) -> list[Any]:
        """Outputs of one inference.

        Args:
            output_names: which, in which order; None: all.
            feeds: one array per input.
            run_options: ONNX Runtime's.

        Raises:
            PlanError: inputs of other names, types or shapes, an unknown output, or the plan is closed.
            SessionError: a stage failed on these inputs.
        """
        return self.runner_for(output_names, feeds).run(output_names, feeds, run_options)

    def submit(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Future[list[Any]]:
        """Starts one inference and returns at once, unless many are under way: then it waits for one to end.

        Requests overlap: stages on different lanes work at the same time, and a plan for several callers has as many
        threads, which go from stage to stage where callers of `run` do. Cancelling the future ends a request that no
        stage has begun. `close` waits for those under way. A callback of the future may `run` and submit, but not wait
        for what it submits: that raises PlanError.

        Args:
            output_names: which, in which order; None: all.
            feeds: one array per input, not to be changed until the future is done.

        Raises:
            PlanError: as `run`. What a stage raises is the future's.
        """
        runner = self.runner_for(output_names, feeds)
        return runner.queue(callers=self.plan.callers).submit(output_names, feeds)

    def runner_for(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> StageRunner:
        """What runs these inputs: the plan's stages, or the whole model that stands in.

        Raises:
            PlanError: as `run`.
        """
        runner = self.runner
        if feeds.keys() != self._inputs:
            raise PlanError(f"the inputs must be {', '.join(sorted(self._inputs))}; got {', '.join(feeds) or 'none'}")
        for name, dtype, shape in self._expected:
            array = feeds[name]
            if type(array) is not np.ndarray:
                continue  # ONNX Runtime takes lists and its own values too, and checks them itself
            if dtype is not None and array.dtype != dtype:
                raise PlanError(
                    f"the input {name!r} has type {array.dtype}, the plan needs {dtype}: "
                    f"use array.astype({str(dtype)!r})"
                )
            if shape is not None and array.shape != shape:
                runner = self._for_other_shapes(name, array.shape, shape)
        if output_names is not None and not self._known.issuperset(output_names):
            unknown = ", ".join(set(output_names) - self._known)
            raise PlanError(f"unknown output {unknown}; known: {', '.join(self._names)}")
        return runner

    def _for_other_shapes(self, name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> StageRunner:
        flag = f"--shape {name}={','.join(map(str, shape))}"
        problem = f"the input {name!r} has shape {shape}, the plan was made for {expected}. Search again with {flag}"
        if self._whole_path is None:
            raise PlanError(f"{problem}, or load it with fallback=True.")
        with self._lock:
            if self._whole is None:
                self._whole = StageRunner([(self._whole_path, DEFAULT_LANE)], self._names, create=named_session)
            whole = self._whole
        takes = next(item.shape for item in whole.sessions[0].get_inputs() if item.name == name)
        if len(takes) != len(shape) or any(
            isinstance(dim, int) and dim != size for dim, size in zip(takes, shape, strict=True)
        ):
            raise PlanError(f"{problem}: the whole model that stands in was prepared for {tuple(takes)} too.")
        return whole

    def close(self) -> None:
        """Waits for requests that were submitted, then lets go of the sessions."""
        for runner in (self._runner, self._whole):
            if runner is not None:
                runner.close()
        self._runner = self._whole = None

    def __enter__(self) -> LoadedPlan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _expectation(spec: TensorSpec) -> Expectation:
    """Name, type and shape that an input must have; None: ONNX Runtime checks it."""
    dtype = np.dtype(spec.dtype) if spec.dtype != "string" and spec.dtype not in STAND_INS else None
    return spec.name, dtype, spec.shape if spec.is_static else None
