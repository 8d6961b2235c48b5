"""What counts against a budget, and what is said when it was not enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.api import deciding
from autotune.api.clock import Budget
from autotune.api.deciding import LAUNCHES, decide_run, launch_s, reserve_s
from autotune.api.searching import SEARCH_S, settle_budget

from .test_front import a_run


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_waiting_for_another_search_does_not_count() -> None:
    clock = Clock()
    budget = Budget(10.0, clock=clock)
    clock.now_s += 2.0
    with budget.paused():
        clock.now_s += 60.0
    clock.now_s += 1.0
    assert budget.elapsed_s == 3.0
    assert budget.left_s == 7.0
    assert budget.seconds_until(0.5) == 2.0


def test_an_overdraft_says_where_the_time_went_longest_first() -> None:
    clock = Clock()
    budget = Budget(10.0, clock=clock)
    for name, seconds in (("load", 2.0), ("verify", 5.0), ("load", 1.0), ("train", 0.01)):
        with budget.phase(name):
            clock.now_s += seconds
    assert budget.overdraft == ""
    clock.now_s += 4.0
    assert budget.overdraft == "this took 12.0 s instead of 10 s: verify 5.0 s, load 3.0 s."


def test_time_that_extends_the_budget_leaves_as_much_as_before() -> None:
    now = [0.0]
    budget = Budget(10.0, clock=lambda: now[0])
    with budget.extended(5.0):
        now[0] += 3.0
    assert budget.left_s == 10.0
    with budget.extended(1.0):
        now[0] += 4.0
    assert budget.left_s == 7.0


def test_room_is_made_up_to_a_limit_and_never_taken_away() -> None:
    clock = Clock()
    budget = Budget(10.0, clock=clock)
    clock.now_s += 8.0
    assert budget.make_room(5.0, most_s=20.0)
    assert budget.left_s == 5.0
    assert not budget.make_room(50.0, most_s=20.0)
    assert budget.total_s == 20.0
    assert budget.make_room(1.0, most_s=15.0)
    assert budget.total_s == 20.0


def test_room_is_there_however_time_goes_on_while_it_is_made() -> None:
    ticks = iter(range(1000))
    budget = Budget(10.0, clock=lambda: float(next(ticks)))
    assert budget.make_room(50.0, most_s=100.0)


@pytest.mark.parametrize(("baselines_s", "total_s"), [(10.0, 52.0), (70.0, None), (149.0, 150.0)])
def test_slow_baselines_leave_time_to_search_and_to_decide(baselines_s: float, total_s: float | None) -> None:
    run, clock = a_run((), {"default": (40_000.0, 1 << 20, 0.0), "single:even": (30_000.0, 1 << 20, 0.0)}), Clock()
    run.budget = Budget(run.settings.most_s, clock=clock)
    clock.now_s += baselines_s
    settle_budget(run)
    if total_s is None:
        assert run.budget.left_s >= SEARCH_S + reserve_s(run, LAUNCHES)
    else:
        assert run.budget.total_s == pytest.approx(total_s)


@pytest.mark.parametrize(
    ("asked_s", "elapsed_s", "launches"),
    [(None, 60.0, [4]), (None, 200.0, [4]), (None, 300.0, []), (52.0, 60.0, [])],
)
def test_a_budget_that_nobody_asked_for_pays_for_launches_that_decide(
    monkeypatch: pytest.MonkeyPatch, asked_s: float | None, elapsed_s: float, launches: list[int]
) -> None:
    run, clock = a_run((), {"default": (4_000.0, 1 << 20, 0.0), "single:even": (3_000.0, 1 << 20, 0.0)}), Clock()
    run.settings = replace(run.settings, budget_s=asked_s)
    run.budget = Budget(52.0, clock=clock)
    run.launches.clear()
    clock.now_s += elapsed_s  # the rounds took longer than they should
    made: list[int] = []
    monkeypatch.setattr(deciding, "_launch", lambda _run, _finalists, count: made.append(count))
    monkeypatch.setattr(deciding, "_repeat_disturbed", lambda *_: None)
    monkeypatch.setattr(deciding, "measure_held_out", lambda *_: None)
    monkeypatch.setattr(deciding, "measure_memory", lambda *_: None)
    decide_run(run)
    assert made == launches


@pytest.mark.parametrize(
    ("asked_s", "elapsed_s", "made", "ends"),
    [
        (None, 50.0, 5, False),
        (None, 60.0, 3, False),
        (None, 60.0, 4, True),
        (None, 151.0, 3, False),
        (None, 301.0, 3, True),
        (52.0, 60.0, 3, True),
    ],
)
def test_launches_that_are_too_few_to_decide_go_on_where_nobody_asked_for_a_budget(
    asked_s: float | None, elapsed_s: float, made: int, ends: bool
) -> None:
    run, clock = a_run((), {"default": (4_000.0, 1 << 20, 0.0)}), Clock()
    run.settings = replace(run.settings, budget_s=asked_s)
    run.budget = Budget(52.0, clock=clock)
    clock.now_s += elapsed_s
    run.launches["default"] = run.launches["default"][:made]
    assert deciding._spent(run) is ends


def test_a_launch_of_batches_takes_as_long_as_their_samples() -> None:
    run = a_run((), {"default": (20_000.0, 1 << 20, 0.0)})
    one = run.contenders["default"]
    four = replace(one, job=replace(one.job, batch=4, callers=2))
    assert launch_s(run, [four]) > launch_s(run, [one]) + 0.5
