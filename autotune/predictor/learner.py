"""What a predictor learns with: one interface, one registry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from autotune.core import Lane
from autotune.errors import UnknownNameError
from autotune.predictor.features import Matrix

Vector = npt.NDArray[np.float64]


class Regressor(Protocol):
    """What was learnt of one lane."""

    def log_us(self, rows: Matrix, lane: Lane, cores: int) -> Vector:
        """Natural logarithm of the latency in µs, per row of kernel features."""

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """JSON values, and files by suffix, from which `Learner.restore` makes an equal one."""


class Learner(Protocol):
    """Makes regressors; holds no state of its own."""

    @property
    def name(self) -> str:
        """Its name in `LEARNERS`."""

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> Regressor:
        """Learn one lane; deterministic for a seed."""

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> Regressor:
        """The inverse of `Regressor.dump`; ValueError, KeyError or TypeError where that is not possible."""


@runtime_checkable
class Forgetful(Learner, Protocol):
    """A learner that may know the very kernels it is judged on: from other devices, or from a choice of settings."""

    def forgetting(self, signatures: Collection[str]) -> Learner:
        """The same where nobody has seen these kernels."""


@runtime_checkable
class Helped(Forgetful, Protocol):
    """A learner with the help of other devices."""

    def choices(self, lane: Lane, records: int) -> tuple[Learner, ...]:
        """What is chosen from for a lane with so many records, by the error on what is left out; equal: the first."""


def choices(one: Learner, lane: Lane, records: int) -> tuple[Learner, ...]:
    """What the learner chooses from; most choose nothing."""
    return one.choices(lane, records) if isinstance(one, Helped) else (one,)


def forgetting(one: Learner, signatures: Collection[str]) -> Learner:
    """The learner as it is where these kernels were never seen: what is judged must not know them."""
    return one.forgetting(signatures) if isinstance(one, Forgetful) else one


def _boosted() -> Learner:
    from autotune.predictor.boosted import BoostedTrees

    return BoostedTrees()


def _hist_boosted() -> Learner:
    from autotune.predictor.hist_boosted import HistBoostedTrees

    return HistBoostedTrees()


def _linear() -> Learner:
    from autotune.predictor.linear import FlopsLinear

    return FlopsLinear()


def _forest() -> Learner:
    from autotune.predictor.forest import ForestPerFamily

    return ForestPerFamily()


def _adapted() -> Learner:
    from autotune.predictor.adapted import Adapted

    return Adapted()


def _committee() -> Learner:
    from autotune.predictor.committee import Bootstrap

    return Bootstrap()


LEARNERS: dict[str, Callable[[], Learner]] = {
    "adapted": _adapted,
    "boosted": _boosted,
    "committee": _committee,
    "hist_boosted": _hist_boosted,
    "flops_linear": _linear,
    "forest_per_family": _forest,
}


def learner(name: str, settings: Mapping[str, Any] | None = None) -> Learner:
    """The learner with this name.

    Args:
        name: in `LEARNERS`.
        settings: its fields by name; those that are not given are the defaults.

    Raises:
        UnknownNameError: there is none; lists the known ones.
        ValueError: a setting is of another type.
    """
    if name not in LEARNERS:
        raise UnknownNameError("learner", name, known=LEARNERS)
    made = LEARNERS[name]()
    defaults = settings_of(made)
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in (settings or {}).items()
        if key in defaults
    }
    for key, value in given.items():
        if type(value) is not type(defaults[key]):
            raise ValueError(f"the setting {key} of {name} is {value!r}, no {type(defaults[key]).__name__}")
        if isinstance(value, dict):
            given[key] = learner(value["name"], value)
    return replace(made, **given) if given else made  # type: ignore[type-var]


def settings_of(one: Learner) -> dict[str, Any]:
    """A learner's settings by name: numbers, texts, and a learner inside it as its name and settings."""
    values = {field.name: getattr(one, field.name) for field in fields(one)}  # type: ignore[arg-type]
    inside = {name: {"name": value.name} | settings_of(value) for name, value in values.items() if _is_learner(value)}
    return {name: value for name, value in values.items() if _is_setting(value)} | inside


def _is_learner(value: object) -> bool:
    return hasattr(value, "fit") and hasattr(value, "restore")


def _is_setting(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_setting, value))
    return isinstance(value, (int, float, str))
