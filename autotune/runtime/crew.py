"""Who works on which lane: workers, the cores they stay on, the copy of the session they use."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from autotune.core import Lane
from autotune.errors import PlanError
from autotune.processors import SessionSpec
from autotune.processors.cores import allowed_cores

LaneOrSpec = TypeVar("LaneOrSpec", bound=Lane | SessionSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One worker's place.

    Args:
        cores: that its thread stays on; empty: any.
        copy: which copy of a lane's sessions it uses, modulo their number.
    """

    cores: tuple[int, ...] = ()
    copy: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers who share a line of waiting stages.

    Args:
        lanes: whose stages they run.
        cores: that these are pinned to; empty: none are.
        seats: one per worker.
    """

    lanes: tuple[Hashable, ...]
    cores: frozenset[int] = frozenset()
    seats: tuple[Seat, ...]


def copies_of(lane: LaneOrSpec) -> tuple[LaneOrSpec, ...]:
    """The lane as its sessions see it: one, or one per stream with cores and a pool of threads of its own.

    ONNX Runtime's CPU provider has no streams, and callers of one session share its pool: streams of several threads,
    or of pinned ones, are sessions of their own. With one thread nothing is shared, and other providers have streams.
    """
    if not isinstance(lane, Lane) or lane.processor != "cpu" or lane.concurrency.streams == 1:
        return (lane,)
    setting = lane.concurrency
    if setting.threads == 1 and not setting.cores:
        copies = [replace(setting, streams=1)]
    else:
        copies = [replace(setting, streams=1, cores=group) for group in _groups(lane)]
    return tuple(cast("LaneOrSpec", replace(lane, concurrency=own)) for own in copies)


def crews_of(lanes: Sequence[Hashable], *, threads: int = 1) -> tuple[Crew, ...]:
    """The crews of lanes that work at the same time; no two of their sessions are ever busy on one pinned core.

    Lanes whose pinned cores overlap share one worker, so their stages take turns. Several workers of lanes that are not
    pinned are shared by all of these, so that as many stages run at once as when callers go from stage to stage.

    Args:
        lanes: of the stages; equal ones are one lane.
        threads: workers of lanes that are not pinned, at least as many as one of them has streams.

    Raises:
        PlanError: cores outside this process's affinity mask, or that cannot be shared out evenly among streams.
    """
    found: list[Crew] = []
    for lane in dict.fromkeys(lanes):
        crew = Crew(lanes=(lane,), cores=_cores(lane), seats=_seats(lane, threads))
        shared = threads > 1 and not crew.cores
        rivals = [other for other in found if crew.cores & other.cores or (shared and not other.cores)]
        if rivals:
            cores = crew.cores.union(*(other.cores for other in rivals))
            names = (*(name for other in rivals for name in other.lanes), lane)
            free = max((crew.seats, *(other.seats for other in rivals)), key=len)
            crew = Crew(lanes=names, cores=cores, seats=(Seat(cores=tuple(sorted(cores))),) if cores else free)
            found = [other for other in found if other not in rivals]
        found.append(crew)
    return tuple(found)


def outside_of_mask(lanes: Sequence[Hashable]) -> str:
    """Which lane is pinned to a core that this process may not use, in words; empty where none is."""
    allowed = allowed_cores()
    for lane in lanes:
        forbidden = sorted(_cores(lane).difference(allowed))
        if forbidden:
            here = ", ".join(map(str, allowed))
            return f"the lane {lane} is pinned to core {forbidden[0]}, this process may use {here}"
    return ""


def apart(crews: Sequence[Crew]) -> bool:
    """Whether two of the crews have processors or cores of their own, so that working at the same time can pay.

    CPU lanes that are not pinned each take all cores: at the same time they would only disturb each other.
    """
    others = sum(not all(_on_cpu(lane) for lane in crew.lanes) for crew in crews)
    pinned = sum(bool(crew.cores) for crew in crews)
    free = any(not crew.cores and all(_on_cpu(lane) for lane in crew.lanes) for crew in crews)
    return others + (pinned or free) >= 2


def _on_cpu(lane: Hashable) -> bool:
    if isinstance(lane, SessionSpec):
        return lane.device == "cpu"
    return isinstance(lane, Lane) and lane.on_cpu


def _cores(lane: Hashable) -> frozenset[int]:
    return frozenset(lane.concurrency.cores) if isinstance(lane, Lane) else frozenset()


def _seats(lane: Hashable, threads: int) -> tuple[Seat, ...]:
    if not isinstance(lane, Lane):
        return (Seat(),) * max(1, threads)
    setting = lane.concurrency
    if not setting.cores:
        return tuple(Seat(copy=at) for at in range(max(threads, setting.streams)))
    outside = outside_of_mask([lane])
    if outside:
        raise PlanError(f"{outside}: search again here, or start it with another affinity")
    return tuple(Seat(cores=_caller(lane, group), copy=at) for at, group in enumerate(_groups(lane)))


def _groups(lane: Lane) -> list[tuple[int, ...]]:
    """The cores of each stream."""
    setting = lane.concurrency
    if not setting.cores:
        return [()] * setting.streams
    each, left = divmod(len(setting.cores), setting.streams)
    if left:
        raise PlanError(f"{len(setting.cores)} cores of {lane} cannot be shared by {setting.streams} streams evenly")
    return [setting.cores[at * each : (at + 1) * each] for at in range(setting.streams)]


def _caller(lane: Lane, cores: tuple[int, ...]) -> tuple[int, ...]:
    """Cores of the thread that calls `run`: of ONNX Runtime's own pool it is the first, the others have theirs."""
    return cores[:1] if lane.processor == "cpu" and lane.concurrency.threads in (0, len(cores)) else cores
