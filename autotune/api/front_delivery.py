"""The plans of the measured front, beside the search's own."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from autotune.api.delivery import build_plan
from autotune.api.front import decision_for, why_front
from autotune.api.run import Run
from autotune.api.settings import front_folder
from autotune.api.verdict import kind_of, title_of
from autotune.core import Plan, Verdict
from autotune.errors import AutotuneError, PlanError, StoreError
from autotune.planning import Decision
from autotune.runtime import check_target
from autotune.runtime.drafts import PLAN_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A verified plan that none of the others beats in every objective.

    Args:
        name: of the contender: `default`, `single:<lane>` or `plan:<hash>`.
        plan: what was written.
        folder: where.
    """

    name: str
    plan: Plan
    folder: Path


def write_front(run: Run, plan: Plan, folder: Path, decision: Decision | None) -> tuple[FrontPoint, ...]:
    """Writes the plans of the front's other points; gives all points, the plan first.

    One that cannot be written is left out, with a warning: the plan is there.
    """
    if decision is None or not run.front:
        if run.settings.objectives:
            run.warnings.append("no time was left to verify a front: give a larger --budget.")
        return ()
    points = [FrontPoint(name=run.front[0], plan=plan, folder=folder)]
    place = front_folder(folder)
    for name in run.front[1:]:
        contender = run.contenders[name]
        verdict = Verdict(
            kind=kind_of(contender), winner=title_of(contender), reason=why_front(run, contender, first=False)
        )
        try:
            written, where = build_plan(
                run, contender, decision_for(run, decision, name), verdict=verdict, folder=place / str(len(points) + 1)
            )
        except (AutotuneError, OSError) as error:
            run.warnings.append(f"{contender.name}, a point of the front, was not written: {error}")
            continue
        points.append(FrontPoint(name=name, plan=written, folder=where))
        _announce(run, points[-1])
    _remove_older(place, beyond=len(points))
    return tuple(points)


def _remove_older(place: Path, *, beyond: int) -> None:
    """Plans of a larger front that was written here before; whatever else lies there stays."""
    for path in place.iterdir() if place.is_dir() else ():
        if path.name.isdigit() and int(path.name) > beyond and (path / PLAN_FILE).is_file():
            with contextlib.suppress(PlanError, StoreError):
                check_target(path)
                shutil.rmtree(path)
    with contextlib.suppress(OSError):
        place.rmdir()  # only where it is empty


def _announce(run: Run, point: FrontPoint) -> None:
    timing, error = point.plan.measured, point.plan.error
    run.observer.event(
        "front",
        {
            "name": point.name,
            "folder": str(point.folder),
            "p50_ms": timing.p50_us / 1e3 if timing else None,
            "throughput_per_s": timing.throughput_per_s if timing else None,
            "peak_bytes": timing.peak_bytes if timing else None,
            "relative_rms": error.relative_rms if error else None,
        },
    )
