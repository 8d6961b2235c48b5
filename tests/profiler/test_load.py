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

from autotune.core import Scenario
from autotune.errors import MeasurementError, UnknownNameError, UsageError
from autotune.profiler.load import (
    Load,
    LoadGenerator,
    LoadReport,
    default_generator,
    generator,
    generator_names,
    highest_rate,
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
            kept.append(target.failure)

        QuerySampleResponse = staticmethod(lambda *numbers: numbers)

    ended: list[Future[Any]] = [Future() for _ in range(3)]
    target = Asked(Library, ended.__getitem__)  # type: ignore[arg-type]
    target.issue([SimpleNamespace(id=at, index=at) for at in range(3)])
    for future, error in zip(ended, (None, ValueError("no more"), None), strict=True):
        future.set_exception(error) if error else future.set_result(None)
    assert [str(failure) for failure in kept] == ["None", "no more", "no more"]


@pytest.mark.skipif(not INSTALLED, reason="LoadGen is not installed")
@pytest.mark.parametrize("load", [load for load, *_ in LOADS], ids=lambda load: load.scenario.value)
def test_both_generators_agree(target: Target, load: Load) -> None:
    """On work that takes a fixed time they report the same, within what scheduling adds: the best of three each."""

    def best(name: str) -> list[LoadReport]:
        return [generator(name).drive(target.issue, load) for _ in range(3)]

    own, real = best("own"), best("loadgen")
    assert max(r.throughput_per_s for r in own) == pytest.approx(max(r.throughput_per_s for r in real), rel=0.5)
    if load.scenario is not Scenario.SERVER:  # its arrivals are random
        assert min(r.p50_us for r in own) == pytest.approx(min(r.p50_us for r in real), rel=0.5)


def test_percentiles_are_counted_as_loadgen_counts_them() -> None:
    found = report(LOADS[0][0], "test", [float(at) for at in range(99, -1, -1)], seconds=2.0)
    assert (found.p50_us, found.p90_us, found.p99_us, found.throughput_per_s) == (50, 90, 99, 10)
    assert percentile([1.0, 2.0], 0.99) == 2


class Scripted:
    """A generator over a plan whose p99 is 1 ms at no load and grows as a queue does."""

    name = "scripted"

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def drive(self, issue: Any, load: Load) -> LoadReport:
        if load.scenario is Scenario.OFFLINE:
            return report(load, self.name, [1.0], load.samples / 1000)
        self.seeds.append(load.seed)
        return report(load, self.name, [1000 / (1 - load.rate_per_s / 1000)], load.samples / load.rate_per_s)


def test_the_highest_rate_is_found_by_bisection() -> None:
    scripted = Scripted()
    found = highest_rate(scripted, lambda _: Future(), 4000.0)
    assert found.rate_per_s == pytest.approx(750, rel=0.05)
    assert found.best is not None
    assert found.best.p99_us <= 4000
    assert len(set(scripted.seeds)) == len(found.runs) < 10


def test_a_bound_that_nothing_meets_is_reported_with_the_closest_run() -> None:
    found = highest_rate(Scripted(), lambda _: Future(), 900.0)
    assert (found.rate_per_s, found.best) == (0, None)
    assert found.closest.p99_us == min(run.p99_us for run in found.runs) > 900
    with pytest.raises(UsageError, match="latency bound"):
        highest_rate(Scripted(), lambda _: Future(), -1.0)


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
