"""Load on a plan: every generator issues what the scenario says, reports it alike, and survives failures."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autotune.api.under_load import DEADLINE_S
from autotune.core import Measurement, Scenario
from autotune.errors import MeasurementError, UnknownNameError, UsageError
from autotune.profiler.load import (
    Goal,
    Load,
    LoadGenerator,
    LoadReport,
    ServerReport,
    default_generator,
    generator,
    generator_names,
    highest_rate,
    trial_of,
)
from autotune.profiler.load.mlperf import Target as Asked
from autotune.profiler.load.own import poisson_s
from autotune.profiler.load.values import percentile, report

INSTALLED = importlib.util.find_spec("mlperf_loadgen") is not None
WORK_S = 0.004


@pytest.fixture(params=generator_names())
def made(request: pytest.FixtureRequest) -> LoadGenerator:
    if request.param == "loadgen":
        pytest.importorskip("mlperf_loadgen")
    return generator(request.param)


@dataclass
class Target:
    """One worker that sleeps; counts what it was asked for."""

    work: Callable[[int], Any] = lambda _: time.sleep(WORK_S)
    numbers: list[int] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def issue(self, number: int) -> Future[Any]:
        with self.lock:
            self.numbers.append(number)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        future = self.pool.submit(self.work, number)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[Any]) -> None:
        with self.lock:
            self.under_way -= 1


@pytest.fixture
def target() -> Iterator[Target]:
    found = Target()
    yield found
    found.pool.shutdown()


LOADS = [
    (Load(scenario=Scenario.SINGLE_STREAM, queries=20), 20, 1),
    (Load(scenario=Scenario.MULTI_STREAM, queries=3, samples_per_query=4), 12, 4),
    (Load(scenario=Scenario.OFFLINE, queries=20), 20, 20),
    (Load(scenario=Scenario.SERVER, queries=20, rate_per_s=500.0), 20, 20),
]


@pytest.mark.parametrize(("load", "samples", "most"), LOADS, ids=lambda value: str(getattr(value, "scenario", "")))
def test_every_scenario_issues_its_samples(
    made: LoadGenerator, target: Target, load: Load, samples: int, most: int
) -> None:
    found = made.drive(target.issue, load)
    assert len(target.numbers) == samples == load.samples
    assert target.most <= most
    assert target.under_way == 0
    assert 0 < found.p50_us <= found.p90_us <= found.p99_us
    assert found.p50_us >= WORK_S * 1e6 * (4 if load.scenario is Scenario.MULTI_STREAM else 1)
    assert 0 < found.throughput_per_s < 1 / WORK_S
    assert (found.load, found.generator) == (load, made.name)


@pytest.mark.parametrize("load", [load for load, *_ in LOADS], ids=lambda load: load.scenario.value)
def test_a_failed_inference_ends_the_load(made: LoadGenerator, load: Load) -> None:
    def picky(number: int) -> None:
        if number or len(fragile.numbers) > 5:
            raise ValueError("no more")

    fragile = Target(work=picky)
    with pytest.raises(MeasurementError, match="no more"):
        made.drive(fragile.issue, load)
    assert fragile.under_way == 0
    fragile.pool.shutdown()


def test_an_issue_that_raises_ends_the_load(made: LoadGenerator) -> None:
    def closed(_: int) -> Future[Any]:
        raise MeasurementError("this plan is closed")

    with pytest.raises(MeasurementError, match="closed"):
        made.drive(closed, Load(scenario=Scenario.OFFLINE, queries=5))


def test_loadgen_learns_of_the_last_end_after_its_failure_is_kept() -> None:
    """It may end, and its failure be asked for, while the callback that told it still runs."""
    kept: list[BaseException | None] = []

    class Library:
        @staticmethod
        def QuerySamplesComplete(_: list[Any]) -> None:  # noqa: N802 - LoadGen's name
            kept.append(asked.failure)

        QuerySampleResponse = staticmethod(lambda *numbers: numbers)

    ended: list[Future[Any]] = [Future() for _ in range(3)]
    asked = Asked(Library, ended.__getitem__)  # type: ignore[arg-type]
    asked.issue([SimpleNamespace(id=at, index=at) for at in range(3)])
    for future, error in zip(ended, (None, ValueError("no more"), None), strict=True):
        future.set_exception(error) if error else future.set_result(None)
    assert [str(failure) for failure in kept] == ["None", "no more", "no more"]


class Logged(Target):
    """Notes when each sample was issued and ended; every fourth takes three times as long."""

    def __init__(self, work_s: float) -> None:
        super().__init__(work=self._run)
        self.work_s = work_s
        self.begun: list[float] = []
        self.ended: list[float] = []

    def issue(self, number: int) -> Future[Any]:
        self.begun.append(time.perf_counter())
        return super().issue(number)

    def _run(self, _: int) -> None:
        time.sleep(self.work_s * (3 if len(self.ended) % 4 == 3 else 1))
        self.ended.append(time.perf_counter())

    def saw(self, load: Load) -> LoadReport:
        """The report of the load by these notes: one caller, first come, first served."""
        size = load.samples // load.queries
        begun, ended = self.begun[::size], self.ended[size - 1 :: size]
        if load.scenario is Scenario.OFFLINE:
            begun = begun[:1] * len(ended)
        latency_us = [1e6 * (end - begin) for begin, end in zip(begun, ended, strict=True)]
        return report(load, "log", latency_us, ended[-1] - begun[0])


FIGURES: dict[Scenario, Callable[[LoadReport], float]] = {
    Scenario.SINGLE_STREAM: lambda found: found.p90_us,
    Scenario.MULTI_STREAM: lambda found: found.p99_us,
    Scenario.SERVER: lambda found: found.p99_us,
    Scenario.OFFLINE: lambda found: found.throughput_per_s,
}
"""What counts, in MLPerf Inference."""
LONGER = [
    Load(scenario=Scenario.SINGLE_STREAM, queries=40),
    Load(scenario=Scenario.MULTI_STREAM, queries=10, samples_per_query=5),
    Load(scenario=Scenario.OFFLINE, queries=60),
    Load(scenario=Scenario.SERVER, queries=60, rate_per_s=100.0),
]


@pytest.mark.parametrize("load", LONGER, ids=lambda load: load.scenario.value)
def test_a_generator_reports_what_the_plan_saw(made: LoadGenerator, load: Load) -> None:
    """Hence both report the same; what a busy machine adds between two clocks spares one run of ten."""
    figure = FIGURES[load.scenario]
    ratios = []
    for _ in range(10):
        logged = Logged(WORK_S)
        ratios.append(figure(made.drive(logged.issue, load)) / figure(logged.saw(load)))
        logged.pool.shutdown()
        if ratios[-1] == pytest.approx(1, rel=0.03):
            break
    assert min(ratios, key=lambda ratio: abs(ratio - 1)) == pytest.approx(1, rel=0.03)


@pytest.mark.skipif(not INSTALLED, reason="LoadGen is not installed")
def test_both_generators_find_the_same_highest_rate() -> None:
    """With a bound of many requests' time, where it hardly depends on the draw; a busy machine only lowers it."""
    most = {"own": 0.0, "loadgen": 0.0}
    for seed in range(10):
        for name, before in most.items():
            logged = Logged(WORK_S / 2)
            found = highest_rate(generator(name), logged.issue, 15 * WORK_S * 1e6, queries=100, seed=seed)
            logged.pool.shutdown()
            most[name] = max(before, found.rate_per_s)
        if most["own"] == pytest.approx(most["loadgen"], rel=0.1):
            break
    assert most["own"] == pytest.approx(most["loadgen"], rel=0.1)


def test_percentiles_are_counted_as_loadgen_counts_them() -> None:
    found = report(LOADS[0][0], "test", [float(at) for at in range(99, -1, -1)], seconds=2.0)
    assert (found.p50_us, found.p90_us, found.p99_us, found.throughput_per_s) == (50, 90, 99, 10)
    assert percentile([1.0, 2.0], 0.99) == 2


class Scripted:
    """A generator over a plan that has one caller and takes a while; its 99th percentile grows as a queue does."""

    name = "scripted"

    def __init__(self, request_s: float = 1e-3, tail: float = 1.0) -> None:
        self.request_s, self.tail = request_s, tail
        self.loads: list[Load] = []
        self.now_s = 0.0

    def clock(self) -> float:
        return self.now_s

    def drive(self, issue: Any, load: Load) -> LoadReport:
        self.loads.append(load)
        each_s = 1 / load.rate_per_s if load.rate_per_s else self.request_s
        self.now_s += load.samples * each_s
        alone_us = 1e6 * self.request_s
        busy = self.request_s * load.rate_per_s
        waiting_us = alone_us / (1 - busy) if busy < 1 else 1e3 * alone_us
        return LoadReport(
            load=load,
            generator=self.name,
            p50_us=alone_us,
            p90_us=alone_us,
            p99_us=self.tail * waiting_us,
            throughput_per_s=1 / each_s,
        )

    def scenarios(self) -> list[Scenario]:
        return [load.scenario for load in self.loads]

    def highest_rate(self, bound_us: float) -> ServerReport:
        return highest_rate(self, lambda _: Future(), bound_us, clock=self.clock)


def test_the_highest_rate_is_found_by_bisection_and_interpolated() -> None:
    scripted = Scripted()
    found = scripted.highest_rate(4000.0)
    assert found.rate_per_s == pytest.approx(750, rel=0.01)
    assert found.best is not None
    assert found.missed is not None
    assert found.best.p99_us <= 4000 < found.missed.p99_us
    assert len(found.runs) < 10
    server = [load for load in scripted.loads if load.scenario is Scenario.SERVER]
    assert {load.seed for load in server} == {0}  # the same arrivals, stretched
    assert {load.queries for load in server} == {200}


def test_what_bench_finds_is_what_a_search_finds() -> None:
    trial, scripted = trial_of(Goal(scenario=Scenario.SERVER, query_us=1e3, bound_us=4e3, rate_per_s=300.0)), Scripted()
    while not trial.done:
        trial.step(lambda load: scripted.drive(None, load), seed=0)
    found = trial.result(load_s=0.0, peak_bytes=0)
    assert isinstance(found, Measurement)
    assert 1e6 / found.median_us == pytest.approx(Scripted().highest_rate(4000.0).rate_per_s, rel=0.01)


@pytest.mark.parametrize("request_s", [1e-3, 1.0, 30.0])
def test_a_bound_below_what_one_request_takes_is_given_up_at_once(request_s: float) -> None:
    scripted = Scripted(request_s)
    found = scripted.highest_rate(0.9e6 * request_s)
    assert (found.rate_per_s, found.best) == (0, None)
    assert found.closest.p99_us == 1e6 * request_s
    assert set(scripted.scenarios()) == {Scenario.SINGLE_STREAM}
    assert scripted.now_s < DEADLINE_S


@pytest.mark.parametrize("request_s", [1e-3, 0.1, 1.0, 5.0])
@pytest.mark.parametrize("share", [1.5, 30.0])
def test_a_search_ends_long_before_its_worker_counts_as_hanging(request_s: float, share: float) -> None:
    """Also where only the slowest requests miss the bound, so that lone ones say nothing."""
    scripted = Scripted(request_s, tail=2.0)
    found = scripted.highest_rate(share * 1e6 * request_s)
    assert (found.best is None) == (share < 2)
    assert found.closest.p99_us == min(run.p99_us for run in found.runs)
    assert scripted.now_s < DEADLINE_S


def test_a_bound_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="latency bound"):
        Scripted().highest_rate(-1.0)


def test_loads_and_generators_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one query"):
        Load(scenario=Scenario.OFFLINE, queries=0)
    with pytest.raises(UsageError, match="only Server needs a rate"):
        Load(scenario=Scenario.SERVER)
    with pytest.raises(UsageError, match="only Server needs a rate"):
        Load(scenario=Scenario.OFFLINE, rate_per_s=3)
    with pytest.raises(UnknownNameError, match="own, loadgen"):
        generator("locust")
    assert default_generator().name == ("loadgen" if INSTALLED else "own")


def test_arrivals_of_the_own_generator_are_poisson() -> None:
    """The rate is met, and gaps vary as much as their mean."""
    load = Load(scenario=Scenario.SERVER, queries=20_000, rate_per_s=50.0)
    gaps = np.diff(poisson_s(load))
    assert gaps.mean() == pytest.approx(0.02, rel=0.05)
    assert gaps.std() == pytest.approx(0.02, rel=0.05)
    assert poisson_s(load) == poisson_s(load)
