"""A plan that is ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from autotune.core import DEFAULT_LANE, Lane, Plan, TensorSpec
from autotune.errors import MissingProcessorError, PlanError
from autotune.processors import resolve, this_device
from autotune.runtime.folder import plan_of, read_data, verify
from autotune.runtime.stages import StageRunner


def load_plan(
    folder: str | Path, *, fallback: bool = False, check: bool = False, cache: Path | None = None
) -> LoadedPlan:
    """A plan that is ready to run.

    Args:
        folder: the plan.
        fallback: whether the whole model in one session of the CPU provider may stand in where a processor is missing,
            and for inputs of other shapes.
        check: whether every file is compared with its hash first.
        cache: folder for compiled models, so that a plan loads fast the second time.

    Raises:
        PlanError: the plan is damaged, or this machine lacks a processor or precision of it.
        SchemaVersionError: a newer autotune wrote it.
        SessionError: a session could not be created.
    """
    place = Path(folder)
    data = read_data(place)
    if check:
        verify(place, data)
    plan = plan_of(place, data)
    whole = place / str(data["whole"])
    missing = _missing(plan)
    if missing and not fallback:
        raise PlanError(
            f"the plan {place} needs {missing}, which this machine does not have (it was made on {plan.device.name}). "
            "Search again here, or load it with fallback=True to run the whole model on the CPU provider."
        )
    return LoadedPlan(plan, place, whole=whole, fallback=fallback, only_whole=bool(missing), cache=cache)


def _missing(plan: Plan) -> str:
    """Processors of the plan that are not here, and instructions that its precisions need."""
    lacking = []
    for name in dict.fromkeys(stage.lane.processor for stage in plan.stages):
        try:
            resolve(name)
        except MissingProcessorError:
            lacking.append(name)
    features = set(plan.device.features) - set(this_device().features)
    lower = {stage.lane.precision for stage in plan.stages if not stage.lane.precision.is_reference}
    if lower and any(feature.startswith(("avx512_bf16", "amx", "bf16")) for feature in features):
        lacking.append(f"a processor that computes in {', '.join(sorted(lower))}")
    return ", ".join(lacking)


class LoadedPlan:
    """A plan with its sessions; `run` is that of `onnxruntime.InferenceSession` and thread-safe.

    Args:
        plan: what it runs.
        folder: where its files are.
        whole: file with the whole model.
        fallback: whether the whole model may stand in for inputs of other shapes.
        only_whole: whether it stands in for everything.
        cache: folder for compiled models.
    """

    def __init__(
        self, plan: Plan, folder: Path, *, whole: Path, fallback: bool, only_whole: bool, cache: Path | None = None
    ) -> None:
        self.plan = plan
        self._whole_path = whole
        self._fallback = fallback
        names = [spec.name for spec in plan.model.outputs]
        stages: list[tuple[str | Path, Lane]] = [(folder / stage.file, stage.lane) for stage in plan.stages]
        self._names = names
        self._runner: StageRunner | None = StageRunner(
            [(whole, DEFAULT_LANE)] if only_whole else stages, names, cache=cache
        )
        self._whole: StageRunner | None = None
        self._expected = {spec.name: (spec.shape, spec) for spec in plan.model.inputs}
        self._static = {spec.name: spec.shape for spec in plan.model.inputs if spec.is_static}

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

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], run_options: Any = None) -> list[Any]:
        """Outputs of one inference.

        Args:
            output_names: which, in which order; None: all.
            feeds: one array per input.
            run_options: ONNX Runtime's.

        Raises:
            PlanError: inputs of other names or shapes, an unknown output, or the plan is closed.
        """
        runner = self._runner
        if runner is None:
            raise PlanError("this plan is closed")
        if feeds.keys() != self._expected.keys():
            raise PlanError(f"the inputs must be {', '.join(self._expected)}; got {', '.join(feeds)}")
        for name, shape in self._static.items():
            array = feeds[name]
            if getattr(array, "shape", None) != shape:
                runner = self._for_other_shapes(name, np.shape(array))
                break
        if output_names is not None and not set(output_names) <= set(self._names):
            unknown = ", ".join(set(output_names) - set(self._names))
            raise PlanError(f"unknown output {unknown}; known: {', '.join(self._names)}")
        return runner.run(output_names, feeds, run_options)

    def _for_other_shapes(self, name: str, shape: tuple[int, ...]) -> StageRunner:
        expected = self._expected[name][0]
        if not self._fallback:
            raise PlanError(
                f"the input {name!r} has shape {shape}, the plan was made for {expected}. Search again with "
                f"--shape {name}={','.join(map(str, shape))}, or load it with fallback=True."
            )
        if self._whole is None:
            self._whole = StageRunner([(self._whole_path, DEFAULT_LANE)], self._names)
        return self._whole

    def close(self) -> None:
        """Lets go of the sessions."""
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
