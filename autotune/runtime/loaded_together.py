"""A joint plan that is ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from autotune.core import JointPlan, TensorSpec
from autotune.errors import PlanError, UnknownNameError
from autotune.runtime.joint_folder import read_joint
from autotune.runtime.loaded import LoadedPlan, load_plan
from autotune.runtime.together import Together


def load_plans(
    folder: str | Path, *, fallback: bool = False, verify: bool | None = None, cache: Path | None = None
) -> LoadedPlans:
    """A joint plan that is ready to run.

    Args:
        folder: the joint plan.
        fallback: whether a model in one session of the CPU provider may stand in where a processor is missing, or does
            not work, and for inputs of other shapes.
        verify: whether every file is compared with its hash first; None: where that costs little.
        cache: folder for compiled models, as for one plan.

    Raises:
        PlanError: the plan is damaged, or this machine lacks a processor, precision or core of it.
        SchemaVersionError: a newer autotune wrote it.
        SessionError: a session could not be created.
    """
    joint = read_joint(folder)
    with ExitStack() as opened:
        plans = {}
        for name in joint.names:
            plans[name] = load_plan(Path(folder) / name, fallback=fallback, verify=verify, cache=cache)
            opened.callback(plans[name].close)
        loaded = LoadedPlans(joint, plans)
        opened.pop_all()
    return loaded


class LoadedPlans:
    """Several models with their sessions on lanes that were chosen together; thread-safe.

    Args:
        joint: what it runs.
        plans: each model's plan by its name; closed with this.
    """

    def __init__(self, joint: JointPlan, plans: Mapping[str, LoadedPlan]) -> None:
        self.joint = joint
        self._plans = dict(plans)
        self._together = Together(
            {name: plan.runner for name, plan in plans.items()},
            turns=joint.turns,
            weights={member.name: member.weight for member in joint.members},
            callers={name: plan.plan.callers for name, plan in plans.items()},
        )

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return self.joint.names

    def inputs(self, model: str) -> tuple[TensorSpec, ...]:
        """What a model takes."""
        return self._plan(model).inputs

    def outputs(self, model: str) -> tuple[TensorSpec, ...]:
        """What a model gives."""
        return self._plan(model).outputs

    def run(self, model: str, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Outputs of one inference of a model, beside whatever else runs; waits where it takes turns.

        Args:
            model: its name.
            output_names: which, in which order; None: all.
            feeds: one array per input.

        Raises:
            UnknownNameError: no model of this name.
            PlanError: inputs of other names, types or shapes, an unknown output, or it is closed.
            SessionError: a stage failed on these inputs.
        """
        plan = self._plan(model)
        runner = plan.runner_for(output_names, feeds)
        if runner is not plan.runner:  # the whole model stands in for other shapes
            return runner.run(output_names, feeds)
        return self._together.run(model, output_names, feeds)

    def submit(self, model: str, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Future[list[Any]]:
        """Starts one inference of a model and returns at once, unless many of it are under way.

        Args:
            model: its name.
            output_names: which, in which order; None: all.
            feeds: one array per input, not to be changed until the future is done.

        Raises:
            UnknownNameError: no model of this name.
            PlanError: as `run`.
        """
        plan = self._plan(model)
        if plan.runner_for(output_names, feeds) is not plan.runner:
            return plan.submit(output_names, feeds)
        return self._together.submit(model, output_names, feeds)

    def _plan(self, model: str) -> LoadedPlan:
        if not self._plans:
            raise PlanError("this joint plan is closed: load it again")
        if model not in self._plans:
            raise UnknownNameError("model", model, known=self.models)
        return self._plans[model]

    def close(self) -> None:
        """Waits for requests that were submitted, then lets go of the sessions."""
        plans, self._plans = self._plans, {}
        self._together.close()
        for plan in plans.values():
            plan.close()

    def __enter__(self) -> LoadedPlans:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
