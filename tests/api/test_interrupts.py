"""Ctrl-C at any moment: what was found is kept and printed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autotune.api import SearchSettings, baselines, deciding, screening, search, searching
from autotune.api.interrupts import Interrupts
from autotune.core import Measurement
from autotune.profiler import Job
from autotune.runtime import read_plan

from .conftest import PLENTY_S, quick


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_raises_the_second_waits_the_third_raises() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            press()
        assert interrupts.pressed
        press()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_request_to_terminate_is_one_too() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert interrupts.pressed
    assert signal.getsignal(signal.SIGTERM) is before


def test_once_measuring_has_ended_the_first_waits_until_the_plan_is_written() -> None:
    with Interrupts() as interrupts:
        interrupts.hold()
        press()
        interrupts.release()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_a_handler_of_the_program_stays() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        with Interrupts() as interrupts:
            press()
        assert seen == [signal.SIGINT]
        assert not interrupts.pressed
    finally:
        signal.signal(signal.SIGINT, before)


def pressed_before(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Presses Ctrl-C when the search calls this function."""
    inner: Callable[..., object] = getattr(searching, name)

    def pressing(*arguments: object) -> object:
        press()
        return inner(*arguments)

    monkeypatch.setattr(searching, name, pressing)


def timed(jobs: Sequence[Job], *, one_us: float, all_us: float, **_: Any) -> list[Measurement]:
    """Stands in for a measurement: of one thread, and of all."""
    single = [job.name.startswith("single:") and job.stages[0].lane.concurrency.threads == 1 for job in jobs]
    return [Measurement(samples_us=(one_us if alone else all_us,) * 3) for alone in single]


@pytest.fixture
def hasty(place: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    """A search of single processors only, that has all the time it needs; on a first look one thread is the fastest."""
    monkeypatch.setattr(searching, "gather", lambda _: None)
    for module in (baselines, screening):
        monkeypatch.setattr(module, "screen", partial(timed, one_us=100.0, all_us=150.0))
    return quick(place, budget_s=PLENTY_S)


@pytest.mark.parametrize("names", [("decide_run", "conclude"), ("decide_run", "build_plan")])
def test_pressed_while_measuring_it_ends_the_search_with_a_plan(
    place: Path, hasty: SearchSettings, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    for name in names:
        pressed_before(monkeypatch, name)
    result = search(place / "small.onnx", hasty)
    assert result.interrupted
    assert read_plan(result.folder).verdict == result.plan.verdict
    assert result.plan.verdict is not None
    assert "interrupted" in result.plan.verdict.reason


@pytest.mark.parametrize("name", ["winner_of", "result_of"])
def test_pressed_after_measuring_it_costs_nothing(
    place: Path, hasty: SearchSettings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(searching, "decide_run", lambda _: None)
    pressed_before(monkeypatch, name)
    result = search(place / "small.onnx", hasty)
    assert not result.interrupted
    assert read_plan(result.folder).measured is not None


@pytest.mark.parametrize(("launches", "decided"), [(4, True), (2, False)])
def test_launches_that_ended_count_where_they_are_enough(
    place: Path, hasty: SearchSettings, monkeypatch: pytest.MonkeyPatch, launches: int, decided: bool
) -> None:
    """The winner and the figures beside it come from the same data: launches, in which one thread is slower, or not."""

    def interrupted(jobs: Sequence[Job], *, on_launch: Callable[[int, list[Measurement]], None], **_: Any) -> None:
        for done in range(launches):
            on_launch(done + 1, timed(jobs, one_us=250.0, all_us=200.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(deciding, "decide", interrupted)
    result = search(place / "small.onnx", hasty)
    plan = result.plan
    assert result.interrupted
    assert (plan.over_default is not None) == decided
    assert bool(result.launched) == decided
    assert plan.verdict is not None
    assert plan.measured is not None
    assert ("screened only" in plan.verdict.reason) == (not decided)
    assert plan.verdict.winner.startswith("single:cpu/f32/t1") == (not decided)
    assert plan.measured.p50_us == (200.0 if decided else 100.0)
    shown = {baseline.name: baseline.measured.p50_us for baseline in plan.baselines if baseline.measured}
    assert {shown[name] for name in result.launched} == ({200.0, 250.0} if decided else set())
    assert {shown[name] for name in set(shown) - result.launched} <= {100.0, 150.0}
