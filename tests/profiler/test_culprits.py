"""What crashes or hangs is blamed itself, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from autotune.core import Failure, FailureKind, Lane, Measurement
from autotune.processors import SessionSpec
from autotune.profiler import Job, JobStage, decide, screen
from autotune.profiler.decide import decide_here
from autotune.profiler.jobs import open_each
from autotune.profiler.screen import screen_here

OPENVINO = "openvino:cpu"


@pytest.mark.parametrize(
    ("measure", "protocol"),
    [(screen_here, (4, 0.0, 0.0, 0)), (decide_here, (8, 0.0, 0.1, 0))],
    ids=["screen", "decide"],
)
def test_a_job_whose_session_ends_is_the_one_that_runs(
    job: Job, monkeypatch: pytest.MonkeyPatch, measure: Callable[..., Iterator[Any]], protocol: tuple[Any, ...]
) -> None:
    """A provider may crash when its session ends: then it is to blame, not what was timed last."""
    ended: list[tuple[str, str]] = []
    running = ""

    class Opened:
        load_s, peak_bytes = 0.1, 1

        def __init__(self, job: Job) -> None:
            self.name = job.name

        def drain(self, seconds: float) -> None: ...

        def samples_us(self, **_: object) -> list[float]:
            return [100.0]

        def close(self) -> None:
            ended.append((self.name, running))

    monkeypatch.setitem(open_each.__globals__, "OpenJob", Opened)
    jobs = [replace(job, name=name) for name in ("a", "b", "c")]
    for item in measure(jobs, *protocol):
        running = jobs[item[1]].name if item[0] == "running" else ""
    assert sorted(ended) == [(name, name) for name in ("a", "b", "c")]


class Silent:
    """Instead of a worker: what runs on OpenVINO hangs, the others are measured."""

    asked: list[tuple[list[str], float]]

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None: ...

    def stream(self, _: Any, jobs: list[Job], *__: Any, silence_s: float, **___: Any) -> Iterator[Any]:
        Silent.asked.append(([job.name for job in jobs], silence_s))
        for at, job in enumerate(jobs):
            yield ("running", at)
            if job.processor == OPENVINO:
                yield Failure(kind=FailureKind.HANG, message="no sign of life")
                return
            yield ("result", at, Measurement(samples_us=(1.0,)))


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> type[Silent]:
    """Workers in which OpenVINO hangs."""
    Silent.asked = []
    for measure in (screen, decide):
        monkeypatch.setitem(measure.__globals__, "Worker", Silent)
    return Silent


def on_lanes(job: Job, *lanes: str) -> list[Job]:
    file = job.stages[0].file
    return [replace(job, name=lane, stages=(JobStage(file=file, lane=Lane.parse(lane)),)) for lane in lanes]


@pytest.mark.parametrize(("before", "tries"), [({}, 2), ({OPENVINO: 1}, 1), ({OPENVINO: 2}, 0)])
def test_a_processor_that_hangs_twice_is_given_up_and_the_others_go_on(
    job: Job, silent: type[Silent], before: dict[str, int], tries: int
) -> None:
    jobs = on_lanes(job, "cpu/f32/t2", f"{OPENVINO}/f32/t2", f"{OPENVINO}/f32/t1", f"{OPENVINO}/bf16", "cpu/f32/t1")
    found = screen(jobs, deadline_s=60.0, silence_s=7.0, hung=before)
    assert [isinstance(result, Measurement) for result in found] == [True, False, False, False, True]
    given_up = [isinstance(result, Failure) and result.message.startswith("not tried") for result in found]
    assert given_up == [False, *(at >= tries for at in range(3)), False]
    assert {silence_s for _, silence_s in silent.asked} == {7.0}


def test_launches_go_on_without_a_job_that_hangs(job: Job, silent: type[Silent]) -> None:
    fine, hanging = decide(on_lanes(job, "cpu/f32", f"{OPENVINO}/f32"), launches=2, deadline_s=60.0, silence_s=7.0)
    assert all(isinstance(result, Measurement) for result in fine)
    assert all(isinstance(result, Failure) and result.kind is FailureKind.HANG for result in hanging)
    assert silent.asked == [(["cpu/f32", f"{OPENVINO}/f32"], 7.0), *[(["cpu/f32"], 7.0)] * 2]


def test_options_policies_and_partitions_say_nothing_about_one_processor(job: Job) -> None:
    assert job.processor == "cpu"
    assert not replace(job, policy="MAX_PERFORMANCE").processor
    assert not replace(job, spec=SessionSpec(provider="CPUExecutionProvider")).processor
    assert not replace(job, stages=(*job.stages, *on_lanes(job, OPENVINO)[0].stages)).processor
