"""A plan in one of MLPerf Inference's scenarios, under real load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autotune.api.plan_inputs import inputs_of
from autotune.api.settings import check_bound
from autotune.api.workplace import Guarded, measuring_workplace
from autotune.core import Failure, Observer, Plan, Scenario, SilentObserver
from autotune.errors import MeasurementError, UsageError
from autotune.graph import save_arrays
from autotune.profiler import Worker
from autotune.profiler.load import SAMPLES_PER_QUERY, Load, LoadReport, ServerReport, default_generator, generator
from autotune.profiler.load.serving import drive_plan, serve_plan
from autotune.runtime import load_plan, read_plan

DEADLINE_S = 600.0
DEFAULT_QUERIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What a plan did under load. Short runs that compare plans; never MLPerf results.

    Args:
        plan: what ran.
        scenario: how requests arrived.
        report: of the load; in Server of the run at the highest rate within the bound, None where none was.
        server: all runs of Server; None elsewhere.
    """

    plan: Plan
    scenario: Scenario
    report: LoadReport | None
    server: ServerReport | None = None

    @property
    def bound_message(self) -> str:
        """What to say where no run of Server kept the latency bound, and what to do; empty elsewhere."""
        if self.server is None or self.server.best is not None:
            return ""
        closest = self.server.closest
        rate = closest.load.rate_per_s
        return (
            f"no run keeps p99 within {self.server.bound_us / 1e3:g} ms: the closest has {closest.p99_us / 1e3:.3g} ms "
            f"{f'at {rate:.3g} queries/s' if rate else 'with one request after the other'}. "
            "Give a longer --latency-bound, or search a plan for it (--scenario Server)."
        )


def load_scenario(text: str) -> Scenario:
    """The scenario of an MLPerf name, in any case.

    Raises:
        UsageError: it is none.
    """
    key = text.strip().lower().replace("-", "").replace("_", "")
    for scenario in Scenario:
        if scenario.value.lower() == key:
            return scenario
    raise UsageError(f"unknown scenario {text!r}; known: {', '.join(Scenario)}")


def bench_load(
    folder: Path,
    scenario: Scenario,
    *,
    latency_bound_us: float | None = None,
    queries: int = DEFAULT_QUERIES,
    inputs: Sequence[Path] = (),
    generator_name: str = "",
    seed: int = 0,
    home: Path | None = None,
    observer: Observer | None = None,
    wait_s: float = 600.0,
) -> LoadResult:
    """Drives a plan in a scenario, in a process of its own.

    Args:
        folder: the plan.
        scenario: how requests arrive.
        latency_bound_us: of Server's 99th percentile; needed there and nowhere else.
        queries: of each run, in Server at most; in Offline samples.
        inputs: real inputs; random ones otherwise.
        generator_name: `own` or `loadgen`; empty: LoadGen where it is installed.
        seed: of the arrivals.
        home: folder with the device's lock.
        observer: is told of waiting.
        wait_s: seconds to wait for another measuring process.

    Raises:
        UsageError: Server without a bound, a bound elsewhere, an unknown generator or one that is not installed.
        PlanError: the plan is damaged or does not fit this device.
        DeviceBusyError: another process measures on this device.
        MeasurementError: an inference failed, or the worker died or hung.
    """
    check_bound(scenario, latency_bound_us)
    name = (generator(generator_name) if generator_name else default_generator()).name
    plan = read_plan(folder)
    size = max(1, SAMPLES_PER_QUERY // plan.batch)
    load = None
    if scenario is not Scenario.SERVER:
        load = Load(scenario=scenario, queries=queries, samples_per_query=size, seed=seed)
    load_plan(folder).close()
    watcher = Guarded(observer or SilentObserver())
    with measuring_workplace(home, watcher, wait_s=wait_s) as place, Worker() as worker:
        feeds = _save_samples(plan, inputs, place.work)
        if load is not None:
            found = _answer(worker, drive_plan, str(folder), feeds, load, generator_name=name)
            return LoadResult(plan=plan, scenario=scenario, report=_per_sample(found, plan))
        server: ServerReport = _answer(
            worker, serve_plan, str(folder), feeds, latency_bound_us, queries=queries, seed=seed, generator_name=name
        )
        best = None if server.best is None else _per_sample(server.best, plan)
        return LoadResult(plan=plan, scenario=scenario, report=best, server=server)


def _save_samples(plan: Plan, inputs: Sequence[Path], work: Path) -> list[str]:
    paths = []
    for at, sample in enumerate(inputs_of(plan, inputs)):
        path = work / f"load-{at}.npz"
        save_arrays(path, sample)
        paths.append(str(path))
    return paths


def _answer(worker: Worker, function: Any, *args: Any, **options: Any) -> Any:
    found = worker.call(function, *args, deadline_s=DEADLINE_S, **options)
    if isinstance(found, Failure):
        raise MeasurementError(f"the plan could not be measured under load: {found.kind}: {found.message}")
    return found


def _per_sample(report: LoadReport, plan: Plan) -> LoadReport:
    """A plan with a batch runs several samples per inference."""
    return replace(report, throughput_per_s=report.throughput_per_s * plan.batch)
