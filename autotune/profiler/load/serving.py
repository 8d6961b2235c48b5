"""The worker's side of a load: opens a plan, warms it up, drives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from autotune.graph import load_arrays
from autotune.profiler.load.generators import generator
from autotune.profiler.load.issuing import issue_to
from autotune.profiler.load.server import ServerReport, highest_rate
from autotune.profiler.load.values import Issue, Load, LoadReport
from autotune.runtime import load_plan

WARM_RUNS = 10


def drive_plan(folder: str, feeds: Sequence[str], load: Load, *, generator_name: str) -> LoadReport:
    """One load on a plan.

    Args:
        folder: the plan.
        feeds: npz files, one sample each.
        load: how requests arrive.
        generator_name: who makes them.

    Raises:
        PlanError: the plan cannot be loaded here.
        MeasurementError: an inference failed.
    """
    with _open(folder, feeds) as issue:
        return generator(generator_name).drive(issue, load)


def serve_plan(
    folder: str, feeds: Sequence[str], bound_us: float, *, queries: int, seed: int, generator_name: str
) -> ServerReport:
    """The highest rate of a plan under a latency bound; arguments and errors as in `drive_plan` and `highest_rate`."""
    with _open(folder, feeds) as issue:
        return highest_rate(generator(generator_name), issue, bound_us, queries=queries, seed=seed)


@contextmanager
def _open(folder: str, feeds: Sequence[str]) -> Iterator[Issue]:
    with load_plan(folder) as plan:
        issue = issue_to(plan, [load_arrays(path) for path in feeds])
        for future in [issue(number) for number in range(WARM_RUNS)]:
            future.result()
        yield issue
