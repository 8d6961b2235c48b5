"""A real worker that is killed while it measures costs what it was at, and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.core import Failure, FailureKind, Identity, Lane, Measurement, ProfileRecord, Protocol, Scenario
from autotune.profiler import Job, decide, kernels, profile_kernels, screen
from autotune.profiler.decide import decide_here, drive_here
from autotune.profiler.jobs import OpenJob
from autotune.profiler.kernels import measure_here
from autotune.profiler.load import Goal
from autotune.profiler.probes import Probe, reference_kernel
from autotune.profiler.screen import screen_here

VICTIM = "b"
KERNELS = [reference_kernel(4, 8), reference_kernel(8, 8), reference_kernel(4, 16)]


def killed_at_its_second_turn(owner: type, name: str, is_victim: Callable[[Any], bool]) -> None:
    """In the worker: a method that ends the process at once, after the victim has been measured once."""
    inner, turns = getattr(owner, name), 0

    def method(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal turns
        turns += is_victim(self)
        if turns == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(self, *args, **options)

    setattr(owner, name, method)


def screen_there(*args: Any) -> Iterator[Any]:
    killed_at_its_second_turn(OpenJob, "samples_us", lambda opened: opened.job.name == VICTIM)
    yield from screen_here(*args)


def decide_there(*args: Any) -> Iterator[Any]:
    killed_at_its_second_turn(OpenJob, "samples_us", lambda opened: opened.job.name == VICTIM)
    yield from decide_here(*args)


def drive_there(*args: Any) -> Iterator[Any]:
    killed_at_its_second_turn(OpenJob, "drain", lambda opened: opened.job.name == VICTIM)
    yield from drive_here(*args)


def measure_there(*args: Any) -> Iterator[Any]:
    killed_at_its_second_turn(Probe, "take", lambda probe: probe.kernel == KERNELS[1])
    yield from measure_here(*args)


@pytest.fixture(autouse=True)
def _found_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the functions of above from where this process would: pytest itself needs no path to its tests."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@pytest.fixture
def jobs(job: Job) -> list[Job]:
    return [replace(job, name=name) for name in ("a", VICTIM, "c")]


def check(results: Sequence[Measurement | Failure]) -> None:
    before, failed, after = results
    assert isinstance(failed, Failure)
    assert failed.kind is FailureKind.MEMORY
    assert "SIGKILL" in failed.message
    assert isinstance(before, Measurement)
    assert isinstance(after, Measurement)


def test_screening(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(screen.__globals__, "screen_here", screen_there)
    check(screen(jobs, rounds=3, round_s=0.001, drain_s=0.0, deadline_s=120))


def test_deciding(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decide.__globals__, "decide_here", decide_there)
    for launch in zip(*decide(jobs, launches=2, runs=4, drain_s=0.0, deadline_s=120), strict=True):
        check(launch)


def test_deciding_under_load(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decide.__globals__, "drive_here", drive_there)
    driven = [replace(job, scenario=Scenario.MULTI_STREAM) for job in jobs]
    goals = [Goal(scenario=Scenario.MULTI_STREAM, query_us=1e5)] * 3
    found = decide(driven, launches=1, drain_s=0.0, deadline_s=120, goals=goals, generator_name="own")
    check([result for (result,) in found])


def test_profiling_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "measure_here", measure_there)
    found: list[ProfileRecord] = []
    profile_kernels(
        KERNELS,
        Lane.parse("cpu/f32/t1"),
        identity=Identity(device="d", provider="p 1", runtime="r 1", protocol=Protocol.MARGINAL),
        rounds=4,
        round_s=0.001,
        deadline_s=120,
        on_record=found.append,
    )
    results = {record.kernel: record.result for record in found}
    assert len(found) == len(results)
    check([results[kernel] for kernel in KERNELS])
