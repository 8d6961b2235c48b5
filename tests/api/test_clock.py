"""What counts against a budget, and what is said when it was not enough."""

from __future__ import annotations

from autotune.api.clock import Budget


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
