"""Several models, and what each is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autotune.api.settings import SearchSettings
from autotune.core import check_weight
from autotune.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One of several models that are served at the same time, or profiled together.

    Args:
        model: a name of the zoo or the path of an ONNX file.
        weight: priority, more than 0, where they are served.
        shapes: full shapes of its inputs, by name.
        dims: values of its symbolic dimensions, by name.
        inputs: npz files or test_data_set folders with real inputs.
    """

    model: str
    weight: float = 1.0
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        check_weight(self.name or "the model", self.weight)

    @property
    def name(self) -> str:
        """The zoo's name or the file's stem."""
        return Path(self.model).stem if self.model.endswith(".onnx") else Path(self.model).name

    def settings(self, settings: SearchSettings, budget_s: float | None) -> SearchSettings:
        """The settings of this model's own search."""
        return replace(settings, shapes=self.shapes, dims=self.dims, inputs=self.inputs, output=None, budget_s=budget_s)


def with_settings(
    models: Sequence[str | Path | Participant], settings: SearchSettings
) -> list[tuple[str | Path, SearchSettings]]:
    """Each model with what it is loaded with: a participant brings its own shapes and dims."""
    return [
        (one.model, one.settings(settings, settings.budget_s)) if isinstance(one, Participant) else (one, settings)
        for one in models
    ]


def check_participants(participants: Sequence[Participant], settings: SearchSettings) -> None:
    """Whether these models can be tuned together.

    Raises:
        UsageError: fewer than two, one of them twice, or settings that do not say which model they mean.
    """
    if len(participants) < 2:
        raise UsageError("a joint plan needs at least two models; for one of them use autotune.search")
    if settings.scenario.under_load:
        raise UsageError(
            f"several models are searched together for SingleStream or Offline, where each is always busy, not for "
            f"{settings.scenario}: leave --scenario out, or give one --model"
        )
    if settings.objectives:
        raise UsageError("--objectives are those of one model: leave it out, or give one --model")
    if settings.shapes or settings.dims or settings.inputs:
        raise UsageError("shapes, dims and inputs belong to a model: give them with its Participant")
    for at, one in enumerate(participants):
        for other in participants[:at]:
            if one.name != other.name:
                continue
            if one.model == other.model or Path(one.model).resolve() == Path(other.model).resolve():
                raise UsageError(
                    f"the model {one.model} is given twice. For several requests of it at once search it alone "
                    "with --scenario Offline"
                )
            raise UsageError(f"two models are called {one.name} ({other.model}, {one.model}): rename one of the files")
