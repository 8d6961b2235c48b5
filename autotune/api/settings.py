"""What a search is asked for, as one value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from autotune.core import Scenario
from autotune.errors import UsageError

DEFAULT_BUDGET_S = 150.0
LOAD_BUDGET_S = 300.0
DEFAULT_TOLERANCE = 1e-3
LARGEST_SEED = 2**31 - 1
"""Those of Optuna and scikit-learn end at 2**32, and parts of a search count on from the seed."""

Metric = Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], float]
"""(reference outputs, found outputs) of one sample -> error, compared with the tolerance instead of `relative_rms`."""


class Criterion(StrEnum):
    """What several objectives are made of."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"
    MEMORY = "memory"
    ERROR = "error"


class PrecisionPolicy(StrEnum):
    """Which precisions a plan may use."""

    AUTO = "auto"
    """Below float32 only where real inputs show that the outputs bear it."""
    ANY = "any"
    """Below float32 also on random inputs."""
    FLOAT32 = "float32"
    """Never below float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """What a search is asked for.

    Args:
        scenario: how requests arrive.
        latency_bound_us: of Server's 99th percentile; None elsewhere.
        objectives: several, the plan for the first is the plan; empty: the scenario's figure alone.
        tolerance: largest `relative_rms` of any output.
        precision: which precisions a plan may use.
        shapes: full shapes of inputs, by name.
        dims: values of symbolic dimensions, by name.
        inputs: npz files or test_data_set folders with real inputs; dimensions without a value have that of the first.
        processors: names of the processors to use; empty uses all.
        baseline: JSON file with the user's own session options, to be beaten too.
        budget_s: seconds for everything; None: about a minute (more for a model of which a run takes long), and as long
            again as the profiling of unknown kernels takes, at most `DEFAULT_BUDGET_S` in all; where launches that
            decide need more (a slow model, or MultiStream and Server), at most `LOAD_BUDGET_S`.
        trials: Optuna trials per round; None takes as many as a few seconds allow.
        output: folder for the plan; None puts it into the home folder.
        seed: of everything random.
        metric: the program's own error instead of `relative_rms`.
        home: folder for records and predictors; None uses AUTOTUNE_HOME or the platform's.
        track: whether the run is logged to MLflow.
        wait_s: seconds to wait for another measuring process on this device.
    """

    scenario: Scenario = Scenario.SINGLE_STREAM
    latency_bound_us: float | None = None
    objectives: tuple[Criterion, ...] = ()
    tolerance: float = DEFAULT_TOLERANCE
    precision: PrecisionPolicy = PrecisionPolicy.AUTO
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[Path, ...] = ()
    processors: tuple[str, ...] = ()
    baseline: Path | None = None
    budget_s: float | None = None
    trials: int | None = None
    output: Path | None = None
    seed: int = 0
    metric: Metric | None = None
    home: Path | None = None
    track: bool = True
    wait_s: float = 600.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise UsageError(
                f"the tolerance must be a number >= 0, got {self.tolerance}; the default is {DEFAULT_TOLERANCE}"
            )
        if self.budget_s is not None and not (math.isfinite(self.budget_s) and self.budget_s > 0):
            raise UsageError(f"the budget must be more than 0 s, got {self.budget_s}; for instance --budget 2min")
        if self.trials is not None and self.trials < 0:
            raise UsageError(f"the number of trials must be >= 0, got {self.trials}")
        check_seed(self.seed)
        check_bound(self.scenario, self.latency_bound_us)
        check_objectives(self.scenario, self.objectives)

    @property
    def most_s(self) -> float:
        """Seconds that a budget which nobody asked for may grow to."""
        return LOAD_BUDGET_S if self.scenario.under_load else DEFAULT_BUDGET_S


def check_seed(seed: int) -> int:
    """The seed, if every generator of random numbers takes it, and those after it too.

    Raises:
        UsageError: it is below 0 or above `LARGEST_SEED`.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"the seed must be from 0 to {LARGEST_SEED}, got {seed}")
    return seed


def check_bound(scenario: Scenario, bound_us: float | None) -> None:
    """Server needs a latency bound above 0, and no other scenario has one.

    Raises:
        UsageError: it is not so.
    """
    if (scenario is Scenario.SERVER) != (bound_us is not None):
        raise UsageError(
            "--scenario Server needs --latency-bound, for instance 50ms"
            if bound_us is None
            else f"--latency-bound belongs to --scenario Server, not to {scenario}"
        )
    if bound_us is not None and not (math.isfinite(bound_us) and bound_us > 0):
        raise UsageError(f"--latency-bound must be more than 0, got {bound_us / 1e3:g} ms; for instance 50ms")


def folder_beside(folder: Path, suffix: str) -> Path:
    """The folder of the same name with a suffix; `.` and `..` are called what they are."""
    named = folder.resolve() if folder.name in ("", "..") else folder
    return named.parent / f"{named.name}{suffix}"


def front_folder(folder: Path) -> Path:
    """Where the other points of a front lie, a folder each: beside the plan's, since that is replaced as a whole."""
    return folder_beside(folder, "-front")


def check_objectives(scenario: Scenario, objectives: Sequence[Criterion]) -> None:
    """Several different objectives that say different things in a scenario, or none.

    Raises:
        UsageError: a single one, one twice, or two that mean the same.
    """
    if len(objectives) == 1:
        raise UsageError(
            f"--objectives {objectives[0]} is a single one: name several, for instance latency,memory; "
            "for the scenario's own figure leave it out"
        )
    twice = [one for at, one in enumerate(objectives) if one in objectives[:at]]
    if twice:
        raise UsageError(f"--objectives names {twice[0]} twice: name each once")
    if scenario is Scenario.SINGLE_STREAM and {Criterion.LATENCY, Criterion.THROUGHPUT} <= set(objectives):
        raise UsageError(
            "in SingleStream throughput is one over latency: leave one of them out of --objectives, "
            "or give --scenario Offline"
        )


_UNITS_S = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `2min`, `1m30s`, `1h`.

    Raises:
        UsageError: `text` is no duration.
    """
    compact = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|sec|s|min|m|h)", compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise UsageError(f"{text!r} is not a duration; write for instance 90s, 2min or 1m30s")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def parse_scenario(text: str) -> Scenario:
    """The scenario of an MLPerf name or of a hint (`latency`, `throughput`), in any case.

    Raises:
        UsageError: neither.
    """
    names = {scenario.value.lower(): scenario for scenario in Scenario}
    names |= {"latency": Scenario.SINGLE_STREAM, "throughput": Scenario.OFFLINE}
    key = text.strip().lower().replace("-", "").replace("_", "")
    if key not in names:
        raise UsageError(
            f"unknown scenario {text!r}; known: SingleStream (hint latency), Offline (hint throughput), MultiStream, "
            "Server"
        )
    return names[key]
