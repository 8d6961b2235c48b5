"""Screening and deciding on real sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autotune.core import DEFAULT_LANE, Failure, FailureKind, Lane, Measurement, Scenario
from autotune.graph import OutputPart, extract, load
from autotune.profiler import Job, JobStage, decide, run_outputs, screen, stage_errors
from autotune.profiler import screen as screening
from autotune.profiler.jobs import OpenJob, by_process, open_each
from autotune.profiler.screen import fastest, screen_here, settled


def broken(job: Job) -> Job:
    return replace(job, name="broken", stages=(JobStage(file="/nowhere/m.onnx", lane=DEFAULT_LANE),))


def test_screening_gives_one_result_per_job_in_order(job: Job) -> None:
    told: list[int] = []
    jobs = [replace(job, name=str(at)) for at in range(7)]
    found = screen(jobs, rounds=3, round_s=0.001, drain_s=0.001, deadline_s=60, on_result=lambda at, _: told.append(at))
    assert all(isinstance(result, Measurement) and len(result.samples_us) == 2 for result in found)
    assert sorted(told) == list(range(7))
    assert all(isinstance(r, Measurement) and r.load_s > 0 and r.peak_bytes > 0 for r in found)


def test_the_fastest_rounds_count_half_as_many_as_were_asked_for() -> None:
    assert fastest([5.0, 1.0, 9.0, 2.0, 7.0], 5) == (1.0, 2.0, 5.0)
    assert fastest([5.0, 1.0, 9.0, 2.0, 7.0], 3) == (1.0, 2.0)
    assert fastest([3.0], 1) == (3.0,)
    assert settled((100.0, 104.0))
    assert not settled((100.0, 104.0, 130.0))


class Scripted:
    """An opened job whose rounds take what the script says, the last one for ever."""

    load_s, peak_bytes = 0.1, 1

    def __init__(self, script: list[float]) -> None:
        self.script, self.rounds = script, 0

    def drain(self, seconds: float) -> None:
        pass

    def samples_us(self, **_: object) -> list[float]:
        self.rounds += 1
        return [self.script[min(self.rounds, len(self.script)) - 1]]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("script", "rounds", "kept"),
    [
        ([100.0], 4, (100.0, 100.0)),
        ([300.0, 260.0, 220.0, 180.0, 140.0, 100.0, 101.0], 7, (100.0, 101.0)),
        ([float(100 * 2**at) for at in range(20, 0, -1)], 12, (51200.0, 102400.0)),
    ],
    ids=["quiet", "disturbed at first", "never settles"],
)
def test_rounds_go_on_while_something_disturbs_them(
    job: Job, monkeypatch: pytest.MonkeyPatch, script: list[float], rounds: int, kept: tuple[float, ...]
) -> None:
    opened = {"quiet": Scripted([50.0]), "disturbed": Scripted(script)}
    monkeypatch.setitem(open_each.__globals__, "OpenJob", lambda job: opened[job.name])
    jobs = [replace(job, name=name) for name in opened]
    found = [item for item in screen_here(jobs, 4, 0.0, 0.0, 0) if item[0] == "result"]
    assert [opened[name].rounds for name in opened] == [rounds, rounds]
    assert found[1][2].samples_us == kept


def test_a_job_that_cannot_be_opened_costs_itself_only(job: Job) -> None:
    first, second, third = screen([job, broken(job), job], rounds=2, round_s=0.001, drain_s=0.001, deadline_s=60)
    assert isinstance(first, Measurement)
    assert isinstance(third, Measurement)
    assert isinstance(second, Failure)
    assert second.kind is FailureKind.UNSUPPORTED


def test_the_culprit_of_a_crash_is_found_by_what_was_running(job: Job) -> None:
    found: dict[int, object] = {}

    class Dying:
        def stream(self, *_: object, **__: object):  # type: ignore[no-untyped-def]
            yield ("running", 0)
            yield ("running", 1)
            yield Failure(kind=FailureKind.CRASH, message="killed by signal SIGSEGV (11)")

    found = screening.__globals__["_group"](Dying(), [job, job, job], (1, 0.1, 0.1, 0), (10.0, 5.0))
    assert list(found) == [1]


def test_throughput_counts_every_caller(job: Job) -> None:
    offline = replace(job, callers=2, scenario=Scenario.OFFLINE)
    (result,) = screen([offline], rounds=2, round_s=0.005, drain_s=0.001, deadline_s=60)
    assert isinstance(result, Measurement)


def test_deciding_repeats_launches_and_keeps_them_paired(job: Job) -> None:
    told: list[tuple[int, Sequence[object]]] = []
    jobs = [job, replace(job, name="again"), broken(job)]
    found = decide(
        jobs,
        launches=2,
        runs=4,
        drain_s=0.001,
        deadline_s=60,
        time_cap_s=0.05,
        on_launch=lambda done, results: told.append((done, list(results))),
    )
    assert [len(launches) for launches in found] == [2, 2, 2]
    assert told == [(at + 1, [launches[at] for launches in found]) for at in range(2)]
    assert all(isinstance(result, Measurement) for launches in found[:2] for result in launches)
    assert all(isinstance(result, Failure) for result in found[2])


def test_deciding_stops_between_launches_when_asked(job: Job) -> None:
    found = decide([job], launches=5, runs=4, drain_s=0.001, deadline_s=60, time_cap_s=0.05, stop=lambda: True)
    assert len(found[0]) == 1


def test_outputs_of_every_sample_come_back(job: Job, samples: str) -> None:
    found = run_outputs(job, samples, deadline_s=60)
    assert not isinstance(found, Failure)
    assert len(found) == 3
    assert found[0][0].shape == (1, 8, 8, 8)
    assert not np.array_equal(found[0][0], found[1][0])
    assert isinstance(run_outputs(broken(job), samples, deadline_s=60), Failure)
    first = run_outputs(job, samples, deadline_s=60, most_s=0.0)
    assert not isinstance(first, Failure)
    np.testing.assert_array_equal([outputs[0] for outputs in first], [outputs[0] for outputs in found[:2]])


def test_a_stage_on_the_reference_lane_adds_no_error(job: Job, samples: str, tmp_path: Path) -> None:
    graph = load(job.stages[0].file)
    files = extract(graph, [(0, 1), (1, 2)], tmp_path / "stages")
    parts = [OutputPart(name="x2", output="x2")]
    one = Lane.parse("cpu/f32/t1")
    found = stage_errors(files, DEFAULT_LANE, one, samples, outputs=["x2"], parts=parts, deadline_s=60)
    assert [isinstance(error, dict) and error["x2"] < 1e-12 for error in found] == [True, True]


@pytest.mark.parametrize("lane", ["nothing:cpu/f32"])
def test_a_lane_that_is_not_here_is_a_failure_per_stage(job: Job, samples: str, tmp_path: Path, lane: str) -> None:
    graph = load(job.stages[0].file)
    files = extract(graph, [(0, 1), (1, 2)], tmp_path / "stages")
    parts = [OutputPart(name="x2", output="x2")]
    found = stage_errors(files, DEFAULT_LANE, Lane.parse(lane), samples, outputs=["x2"], parts=parts, deadline_s=60)
    assert len(found) == 2
    assert all(isinstance(error, Failure) for error in found)


def test_jobs_that_pin_openvinos_threads_have_processes_of_their_own(job: Job) -> None:
    def on(*lanes: str) -> Job:
        return replace(job, stages=tuple(JobStage(file=job.stages[0].file, lane=Lane.parse(lane)) for lane in lanes))

    free, own = on("openvino:cpu/f32/t2/s2"), on("cpu/f32/t1/s2/c0+1")
    holding = on("cpu/f32/t1/c0", "openvino:cpu/f32/t1/c1")
    assert by_process([holding, free, own, holding]) == [[1, 2], [0, 3]]
    assert by_process([free]) == [[0]]
    assert by_process([]) == []


def test_a_burst_counts_from_its_callers_begin_however_late_the_timing_thread_is(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers that keep every core busy may have ended before the thread that times them goes on."""
    run_s = 0.05

    class Late(threading.Barrier):
        def wait(self, timeout: float | None = None) -> int:
            at = super().wait(timeout)
            if threading.current_thread() is threading.main_thread():
                time.sleep(3 * run_s)
            return at

    opened = OpenJob(replace(job, callers=2, scenario=Scenario.OFFLINE))
    monkeypatch.setattr(threading, "Barrier", Late)
    monkeypatch.setattr(opened._runner, "run", lambda *_: time.sleep(run_s))
    assert opened._burst(1) >= run_s
    opened.close()


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.OFFLINE])
def test_a_slow_job_waits_instead_of_running_once_more(
    job: Job, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
) -> None:
    opened = OpenJob(replace(job, scenario=scenario))
    runs: list[float] = []

    def once() -> float:
        runs.append(0.2)
        return 0.2

    monkeypatch.setattr(opened, "once", once)
    assert opened.drain(0.001) == 0.2  # nothing is known of it yet
    assert runs
    runs.clear()
    assert opened.drain(0.001) == 0.2
    assert not runs
    assert len(opened.samples_us(seconds=0.0, least=1, most=1)) == 1
    assert len(runs) == (2 if scenario.overlapping else 1)
    runs.clear()
    opened.drain(0.03)
    assert runs
    opened.close()
