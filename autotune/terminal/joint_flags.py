"""Flags that say what each of several models is given: `MODEL:…` and `MODEL=…`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotune.api.together_settings import Participant
from autotune.core import Fairness
from autotune.errors import UnknownNameError, UsageError
from autotune.terminal.flags import parse_dims, parse_shapes


def participants(
    models: Sequence[str],
    *,
    weights: Sequence[str],
    shapes: Sequence[str],
    dims: Sequence[str],
    inputs: Sequence[str],
) -> list[Participant]:
    """Several models with what the flags give each.

    Raises:
        UsageError: a flag that does not say which model it means, or names another.
        UnknownNameError: a weight of another model.
    """
    plain = [Participant(model=model) for model in models]
    names = [one.name for one in plain]
    weighed = _weights(weights, models, names)
    shaped = _by_model("--shape", "NAME=1,3,320,320", shapes, models, names)
    sized = _by_model("--dim", "NAME=640", dims, models, names)
    given = _by_model("--inputs", "PATH", inputs, models, names)
    return [
        Participant(
            model=model,
            weight=weighed.get(name, 1.0),
            shapes=parse_shapes(shaped.get(name, [])),
            dims=parse_dims(sized.get(name, [])),
            inputs=tuple(Path(path) for path in given.get(name, [])),
        )
        for model, name in zip(models, names, strict=True)
    ]


def parse_fairness(text: str) -> Fairness:
    """`sum` or `minmax`; empty is `sum`.

    Raises:
        UnknownNameError: another word.
    """
    known = [fairness.value for fairness in Fairness]
    if text and text not in known:
        raise UnknownNameError("fairness", text, known=known)
    return Fairness(text) if text else Fairness.SUM


def inputs_by_model(flags: Sequence[str], names: Sequence[str]) -> dict[str, list[Path]]:
    """Paths of `MODEL:PATH` by model.

    Raises:
        UsageError: a flag that does not say which model it means, or names another.
    """
    found = _by_model("--inputs", "PATH", flags, names, names)
    return {name: [Path(path) for path in paths] for name, paths in found.items()}


def _by_model(
    flag: str, form: str, given: Sequence[str], models: Sequence[str], names: Sequence[str]
) -> dict[str, list[str]]:
    """What follows `MODEL:`, by the model's name."""
    found: dict[str, list[str]] = {}
    for text in given:
        name = _model_of(text, ":", models, names)
        if name is None:
            raise UsageError(
                f"{flag} {text!r} does not say which of {', '.join(names)} it is for: write {flag} {names[0]}:{form}"
            )
        found.setdefault(name[0], []).append(name[1])
    return found


def _weights(flags: Sequence[str], models: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in flags:
        name, equals, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            equals, weight = "", 0.0
        if not (name and equals):
            raise UsageError(f"--weight {text!r} is not MODEL=2 with a number more than 0")
        known = _model_of(f"{name}=", "=", models, names)
        if known is None:
            raise UnknownNameError("model of --weight", name, known=names)
        if known[0] in found:
            raise UsageError(f"--weight of {known[0]} is given twice")
        found[known[0]] = weight
    return found


def _model_of(text: str, mark: str, models: Sequence[str], names: Sequence[str]) -> tuple[str, str] | None:
    """The name of the model that `text` begins with, before the mark, and what follows it."""
    for model, name in zip(models, names, strict=True):
        for form in (model, name):
            if text.startswith(form + mark):
                return name, text[len(form) + 1 :]
    return None
