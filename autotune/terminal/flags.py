"""Flags as text to values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotune.api.settings import Criterion, PrecisionPolicy, SearchSettings, parse_duration, parse_scenario
from autotune.core import Scenario
from autotune.errors import UnknownNameError, UsageError


def parse_shapes(flags: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`NAME=1,3,320,320` by name.

    Raises:
        UsageError: a flag that is none.
    """
    shapes = {}
    for flag in flags:
        name, equals, text = flag.rpartition("=")
        try:
            shape = tuple(int(part) for part in text.split(","))
        except ValueError:
            shape = ()
        if not (name and equals and shape) or min(shape) < 1:
            raise UsageError(f"--shape {flag!r} is not NAME=1,3,320,320 with dimensions of at least 1")
        shapes[name] = shape
    return shapes


def parse_dims(flags: Sequence[str]) -> dict[str, int]:
    """`height=640` by name.

    Raises:
        UsageError: a flag that is none.
    """
    dims = {}
    for flag in flags:
        name, equals, text = flag.rpartition("=")
        if not (name and equals and text.isdecimal() and int(text) > 0):
            raise UsageError(f"--dim {flag!r} is not NAME=640 with a whole number of at least 1")
        dims[name] = int(text)
    return dims


def parse_names(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_precision(text: str) -> PrecisionPolicy:
    """`auto`, `any` or `float32`.

    Raises:
        UnknownNameError: another word.
    """
    known = [policy.value for policy in PrecisionPolicy]
    if text not in known:
        raise UnknownNameError("precision", text, known=known)
    return PrecisionPolicy(text)


def parse_scenarios(scenario: str, hint: str) -> Scenario:
    """The scenario that `--scenario`, or `--hint`, names.

    Raises:
        UsageError: unknown, or two different ones.
    """
    wanted = [parse_scenario(text) for text in (scenario, hint) if text]
    if len(set(wanted)) > 1:
        raise UsageError(f"--scenario {scenario} and --hint {hint} are different scenarios: give one of them")
    return wanted[0] if wanted else Scenario.SINGLE_STREAM


def parse_bound(text: str) -> float | None:
    """Microseconds of `--latency-bound`, None where it is not given.

    Raises:
        UsageError: it is no duration.
    """
    if not text:
        return None
    try:
        return parse_duration(text) * 1e6
    except UsageError as error:
        raise UsageError(f"--latency-bound {text!r} is no duration: write for instance 50ms or 1.5s") from error


def parse_objectives(text: str) -> tuple[Criterion, ...]:
    """Comma-separated objectives, in their order.

    Raises:
        UnknownNameError: a name that is none.
    """
    known = [criterion.value for criterion in Criterion]
    for name in parse_names(text):
        if name not in known:
            raise UnknownNameError("objective", name, known=known)
    return tuple(Criterion(name) for name in parse_names(text))


def search_settings(
    *,
    scenario: str,
    hint: str,
    latency_bound: str,
    objectives: str,
    tolerance: float,
    precision: str,
    shapes: Sequence[str],
    dims: Sequence[str],
    inputs: Sequence[str],
    processors: str,
    baseline: str,
    budget: str,
    trials: int | None,
    output: str,
    seed: int,
) -> SearchSettings:
    """The settings that the flags of `autotune search` mean.

    Raises:
        UsageError: a flag that cannot be meant.
    """
    wanted = parse_objectives(objectives)
    by_throughput = Criterion.THROUGHPUT in wanted and not (scenario or hint)
    return SearchSettings(
        scenario=Scenario.OFFLINE if by_throughput else parse_scenarios(scenario, hint),
        objectives=wanted,
        latency_bound_us=parse_bound(latency_bound),
        tolerance=tolerance,
        precision=parse_precision(precision),
        shapes=parse_shapes(shapes),
        dims=parse_dims(dims),
        inputs=tuple(Path(path) for path in inputs),
        processors=parse_names(processors),
        baseline=Path(baseline) if baseline else None,
        budget_s=parse_duration(budget) if budget else None,
        trials=trials,
        output=Path(output) if output else None,
        seed=seed,
    )
