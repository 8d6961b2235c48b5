"""Ctrl-C at any moment: what was found is kept and printed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from autotune import profiler
from autotune.api import SearchSettings, deciding, search, searching
from autotune.api.interrupts import Interrupts
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


@pytest.fixture
def hasty(place: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    """A search of single processors only, that has all the time it needs."""
    monkeypatch.setattr(searching, "gather", lambda _: None)
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


@pytest.mark.parametrize(("launches", "decided"), [(4, True), (1, False)])
def test_launches_that_ended_count_where_they_are_enough(
    place: Path, hasty: SearchSettings, monkeypatch: pytest.MonkeyPatch, launches: int, decided: bool
) -> None:
    def interrupted(jobs: Sequence[Job], **options: Any) -> None:
        profiler.decide(jobs, **options | {"launches": launches})
        raise KeyboardInterrupt

    monkeypatch.setattr(deciding, "decide", interrupted)
    result = search(place / "small.onnx", hasty)
    assert result.interrupted
    assert (result.plan.over_default is not None) == decided
    assert result.plan.verdict is not None
    assert ("screened only" in result.plan.verdict.reason) == (not decided)
