"""A joint plan: what several models run on when they are served at the same time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from autotune.core.device import Device
from autotune.core.plan import Candidate, Ratio, Scenario, Timing
from autotune.errors import PlanError, UsageError

JOINT_SCHEMA_VERSION = 1


class Fairness(StrEnum):
    """What a joint plan is judged by."""

    SUM = "sum"
    """Weighted sum of normalised throughputs; more is better."""
    MINMAX = "minmax"
    """Worst weighted normalised latency; less is better."""


class Sharing(StrEnum):
    """How models share a device."""

    SIDE_BY_SIDE = "side_by_side"
    """Each model's own best plan, as if it were alone."""
    SPACE = "space"
    """Each model, or group of them, has cores or a processor of its own."""
    TURNS = "turns"
    """All models use all cores, one request after the other."""
    FREE = "free"
    """All models use all cores at the same time; the operating system divides them."""


class Slowing(StrEnum):
    """What a joint plan's prediction takes to slow its models down."""

    CO_RUNS = "co-runs"
    """What this device's co-runs tell of lanes that work at the same time, and cores that are shared."""
    CORES = "shared cores"
    """Cores and devices that are shared; models with their own do not disturb each other."""
    NOTHING = "nothing"
    """No two models work at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one model gets while all are served; predicted or measured, as the field it stands in says.

    Args:
        timing: its requests while the others run.
        throughput: its throughput over what it reaches alone with its own best plan; 1 is as if it were alone.
        latency: its median latency over what it takes alone; 1 is as if it were alone.
    """

    timing: Timing
    throughput: float
    latency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JointMember:
    """One model of a joint plan.

    Args:
        name: unique in the plan; also the name of the folder inside it that holds the model's own plan.
        weight: priority, more than 0; 1 unless the user says otherwise.
        own: its best plan when it is alone, with which it was compared.
        alone: what it reaches alone with that.
        predicted: frozen before measuring; None where nothing was predicted.
        measured: None in an unmeasured plan.
        side_by_side: what it gets when every model runs its own best plan at the same time; None where not measured.
    """

    name: str
    weight: float = 1.0
    own: Candidate
    alone: Timing
    predicted: Share | None = None
    measured: Share | None = None
    side_by_side: Share | None = None

    def __post_init__(self) -> None:
        check_weight(self.name, self.weight)

    def own_is_whole(self, batch: int) -> bool:
        """Whether the file of the whole model, made for this batch, can run its best plan when it is alone."""
        return self.own.is_single_lane and self.own.batch == batch


@dataclass(frozen=True, slots=True, kw_only=True)
class JointPlan:
    """Lanes for several models, and who runs when.

    Args:
        scenario: how each model's requests arrive.
        fairness: what it was judged by.
        sharing: how the models share the device.
        members: the models.
        turns: groups of models of which only one runs at a time; the next is who had the least time for its weight.
        device: where it was found.
        versions: (distribution or provider, version) that it was measured with.
        over_side_by_side: how many times better than every model's own best plan side by side.
        over_default: how many times better than every model under ONNX Runtime's default side by side.
        reason: one sentence with the numbers.
    """

    schema_version: int = JOINT_SCHEMA_VERSION
    scenario: Scenario
    fairness: Fairness
    sharing: Sharing
    members: tuple[JointMember, ...]
    turns: tuple[tuple[str, ...], ...] = ()
    device: Device
    versions: tuple[tuple[str, str], ...] = ()
    over_side_by_side: Ratio | None = None
    over_default: Ratio | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names or len(set(names)) != len(names):
            raise PlanError(f"a joint plan needs models of different names, got {', '.join(names) or 'none'}")
        in_turns = [name for group in self.turns for name in group]
        if len(set(in_turns)) != len(in_turns) or not set(in_turns) <= set(names):
            raise PlanError(f"the turns {in_turns} name a model twice, or one that is not in the plan")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models."""
        return tuple(member.name for member in self.members)


def check_weight(name: str, weight: float) -> None:
    """Whether a weight can be meant.

    Raises:
        UsageError: it is not a positive number.
    """
    if not (math.isfinite(weight) and weight > 0):
        raise UsageError(f"the weight of {name} must be a number more than 0, got {weight:g}; 1 is the default")
