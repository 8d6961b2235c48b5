"""One job under load: how many runs it takes, what its figure is, and what is said where the bound cannot be kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from autotune.core import Failure, FailureKind, Measurement, Scenario
from autotune.errors import UsageError
from autotune.profiler import Job, decide
from autotune.profiler.load import Goal, Load, LoadReport, trial_of
from autotune.profiler.load.server import MOST_RUNS
from autotune.profiler.load.trials import BLOCKS, Trial

CAPACITY = 1000.0


class Queue:
    """A plan whose 99th percentile is 1 ms while it rests and grows as a queue does."""

    def __init__(self) -> None:
        self.loads: list[Load] = []

    def drive(self, load: Load) -> LoadReport:
        self.loads.append(load)
        busy = load.rate_per_s / CAPACITY
        p99_us = 1000 / (1 - busy) if busy < 1 else 1e6
        rate = load.rate_per_s or CAPACITY
        return LoadReport(load=load, generator="fake", p50_us=500, p90_us=800, p99_us=p99_us, throughput_per_s=rate)


def finished(trial: Trial, queue: Queue) -> Measurement | Failure:
    while not trial.done:
        trial.step(queue.drive, seed=3)
    return trial.result(load_s=0.5, peak_bytes=7)


def server(rate: float, bound_us: float = 4000.0) -> Goal:
    return Goal(scenario=Scenario.SERVER, query_us=500.0, bound_us=bound_us, rate_per_s=rate)


@pytest.mark.parametrize("expected", [100.0, 600.0, 750.0, 900.0, 5000.0])
def test_the_highest_rate_is_found_from_any_start_and_interpolated(expected: float) -> None:
    queue = Queue()
    found = finished(trial_of(server(expected)), queue)
    assert isinstance(found, Measurement)
    assert 1e6 / found.median_us == pytest.approx(750, rel=0.02)
    assert found.under_load is not None
    assert found.under_load.throughput_per_s == pytest.approx(750, rel=0.02)
    assert found.under_load.p99_us <= 4000
    assert (found.load_s, found.peak_bytes) == (0.5, 7)
    assert len(queue.loads) <= MOST_RUNS + 2
    seeds = {load.seed for load in queue.loads if load.scenario is Scenario.SERVER}
    assert seeds == {3}  # the same arrivals, stretched


def test_a_good_start_needs_few_runs() -> None:
    queue = Queue()
    finished(trial_of(server(740.0)), queue)
    assert len(queue.loads) == 4


def test_no_rate_is_above_what_the_job_can_do_at_all() -> None:
    queue = Queue()
    found = finished(trial_of(server(900.0, bound_us=2e6)), queue)  # a run is too short for so long a backlog
    assert isinstance(found, Measurement)
    assert 1e6 / found.median_us == CAPACITY
    assert max(load.rate_per_s for load in queue.loads) <= CAPACITY


def test_a_rate_is_of_samples_where_an_inference_has_several() -> None:
    found = finished(trial_of(server(740.0), batch=4), Queue())
    assert isinstance(found, Measurement)
    assert 1e6 / found.median_us == pytest.approx(3000, rel=0.02)


def test_a_bound_below_what_one_request_takes_is_given_up_after_few_runs() -> None:
    queue = Queue()
    found = finished(trial_of(server(500.0, bound_us=700.0)), queue)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.BOUND
    assert found.closest_us == 1000.0
    assert "0.7 ms" in found.message
    first, *others = [load.scenario for load in queue.loads]
    assert first is Scenario.OFFLINE
    assert others == [Scenario.SERVER, Scenario.SERVER, Scenario.SINGLE_STREAM]


def test_a_bound_that_only_the_slowest_requests_miss_ends_too() -> None:
    queue = Queue()
    found = finished(trial_of(server(500.0, bound_us=900.0)), queue)  # nine of ten take 800 µs, the slowest 1000
    assert isinstance(found, Failure)
    assert len(queue.loads) <= MOST_RUNS + 2


def test_queries_of_multi_stream_are_measured_in_blocks() -> None:
    queue = Queue()
    found = finished(trial_of(Goal(scenario=Scenario.MULTI_STREAM, query_us=50_000.0), batch=4), queue)
    assert isinstance(found, Measurement)
    assert len(found.samples_us) == len(queue.loads) == BLOCKS
    assert {(load.queries, load.samples_per_query) for load in queue.loads} == {(5, 2)}
    assert found.median_us == 1000.0
    assert found.under_load is not None
    assert found.under_load.throughput_per_s == 4 * CAPACITY


def test_goals_that_cannot_be_meant_are_refused() -> None:
    for wrong in (
        {"scenario": Scenario.OFFLINE},
        {"scenario": Scenario.SERVER},
        {"scenario": Scenario.SERVER, "bound_us": 5.0},
        {"scenario": Scenario.MULTI_STREAM, "bound_us": 5.0, "rate_per_s": 5.0},
    ):
        with pytest.raises(UsageError):
            Goal(query_us=1.0, **wrong)


class MissingWorker:
    """Instead of a process: the first job misses its bound in every launch, the second crashes in the first one."""

    asked: list[list[str]]

    def __init__(self) -> None: ...

    def __enter__(self) -> MissingWorker:
        return self

    def __exit__(self, *_: object) -> None: ...

    def stream(self, _: Any, jobs: list[Job], goals: list[Goal], *__: Any, **___: Any) -> Iterator[Any]:
        assert len(jobs) == len(goals)
        MissingWorker.asked.append([job.name for job in jobs])
        for at, job in enumerate(jobs):
            yield ("running", at)
            kind = FailureKind.BOUND if job.name == "misses" else FailureKind.ERROR
            good = Measurement(samples_us=(1.0,))
            yield ("result", at, good if job.name == "keeps" else Failure(kind=kind, message="no", closest_us=2.0))


def test_a_missed_bound_is_tried_again_and_a_broken_job_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    MissingWorker.asked = []
    monkeypatch.setitem(decide.__globals__, "Worker", MissingWorker)
    jobs = [Job(name=name, stages=(), outputs=(), feeds="") for name in ("misses", "breaks", "keeps")]
    found = decide(jobs, launches=2, deadline_s=5.0, goals=[server(1.0)] * 3)
    assert MissingWorker.asked == [["misses", "breaks", "keeps"], ["misses", "keeps"]]
    assert [len(results) for results in found] == [2, 2, 2]
    assert isinstance(found[2][1], Measurement)
