"""Who wins: simpler unless distinguishable."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.core import Failure, FailureKind, Measurement
from autotune.planning import decide_winner, speedup, undisturbed


def launches(level: float, *, count: int = 8, spread: float = 0.002, seed: int = 0) -> list[Measurement | Failure]:
    rng = np.random.default_rng(seed)
    return [Measurement(samples_us=(level * float(np.exp(rng.normal(0, spread))),)) for _ in range(count)]


RANKS = [["default"], ["single:a", "single:b"], ["plan:1", "plan:2"]]


def test_a_clear_gain_wins() -> None:
    times = {"default": launches(100), "single:a": launches(80, seed=1), "plan:1": launches(60, seed=2)}
    decision = decide_winner(times, ranks=RANKS, against=["default", "single:a"])
    assert decision.winner == "plan:1"
    assert decision.over["default"].ratio == pytest.approx(100 / 60, rel=0.01)
    assert decision.over["single:a"].low > 1.3


def test_the_simpler_plan_wins_when_the_gain_is_within_the_noise() -> None:
    single: list[Measurement | Failure] = [Measurement(samples_us=(80.0,)) for _ in range(8)]
    wavering: list[Measurement | Failure] = [
        Measurement(samples_us=(level,)) for level in (78.0, 76.0, 79.0, 83.0, 78.0, 77.0, 79.0, 82.0)
    ]
    times = {"default": launches(100), "single:a": single, "plan:1": wavering}
    decision = decide_winner(times, ranks=RANKS, against=["default"])
    assert decision.winner == "single:a"
    assert decision.challenger == "plan:1"
    assert decision.challenger_gain is not None
    assert decision.challenger_gain.low < 1


def test_the_default_stays_when_nothing_is_faster() -> None:
    times = {"default": launches(100), "single:a": launches(101, seed=1), "plan:1": launches(120, seed=2)}
    assert decide_winner(times, ranks=RANKS, against=[]).winner == "default"


def test_a_plan_that_failed_in_a_launch_cannot_win() -> None:
    broken = launches(50, seed=2)
    broken[2] = Failure(kind=FailureKind.CRASH, message="killed by signal 11")
    times = {"default": launches(100), "plan:1": broken}
    assert decide_winner(times, ranks=RANKS, against=[]).winner == "default"


def test_no_launch_reports_on_its_own_choice() -> None:
    """Either plan is lucky in the half that chooses it."""
    one, two = ((50.0, 110.0) if first else (110.0, 50.0) for first in (True, False))
    times = {"default": launches(100)} | {
        name: [Measurement(samples_us=(luck[at % 2],)) for at in range(8)]
        for name, luck in (("plan:1", one), ("plan:2", two))
    }
    decision = decide_winner(times, ranks=RANKS, against=["default"])
    assert (decision.winner, decision.challenger) == ("default", "default")


def test_all_launches_report() -> None:
    """A half alone would leave this open."""
    base: list[Measurement | Failure] = [Measurement(samples_us=(100.0,))] * 6
    plan: list[Measurement | Failure] = [Measurement(samples_us=(us,)) for us in (97, 99, 92, 95, 94, 98)]
    decision = decide_winner({"default": base, "plan:1": plan}, ranks=RANKS, against=["default"])
    assert decision.winner == "plan:1"
    every, half = speedup(base, plan), speedup(base[1::2], plan[1::2])
    assert every is not None
    assert half is not None
    assert decision.over["default"].low == pytest.approx(every.low)
    assert half.low < 1 < every.low


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("count", [6, 10])
def test_equal_plans_are_rarely_called_different(count: int, partitions: int) -> None:
    names = ["default", "single:a", "single:b", *(f"plan:{at}" for at in range(partitions))]
    ranks = [names[:1], names[1:3], names[3:]]
    different = 0
    for seed in range(400):
        times = {name: launches(100, count=count, seed=1000 * seed + at, spread=0.02) for at, name in enumerate(names)}
        different += decide_winner(times, ranks=ranks, against=[]).winner.startswith("plan:")
    assert different <= 0.05 * 400


def test_a_faster_single_session_needs_no_certainty() -> None:
    wavering: list[Measurement | Failure] = [
        Measurement(samples_us=(level,)) for level in (90.0, 70.0, 85.0, 99.0, 88.0, 95.0)
    ]
    times = {"default": launches(100, count=6), "single:a": wavering}
    assert decide_winner(times, ranks=RANKS, against=[]).winner == "single:a"
    times = {"default": launches(100, count=6), "plan:1": wavering}
    assert decide_winner(times, ranks=RANKS, against=[]).winner == "default"


def test_of_single_sessions_the_fastest_leads_unless_they_are_even() -> None:
    times = {"default": launches(100), "single:a": launches(99.5, seed=1), "single:b": launches(98, seed=2)}
    decision = decide_winner(times, ranks=RANKS, against=["default", "single:b"])
    assert decision.winner == decision.best_single == "single:b"
    assert decision.over["single:b"].ratio == 1.0
    del times["single:b"]
    decision = decide_winner(times, ranks=RANKS, against=[])
    assert (decision.winner, decision.best_single) == ("default", "single:a")


def test_nothing_finished_is_an_error() -> None:
    failed: list[Measurement | Failure] = [Failure(kind=FailureKind.HANG, message="deadline")]
    with pytest.raises(ValueError, match="no job"):
        decide_winner({"default": failed}, ranks=RANKS, against=[])


def test_speedup_needs_two_launches_with_both() -> None:
    failed: list[Measurement | Failure] = [Failure(kind=FailureKind.HANG, message="deadline")]
    assert speedup(failed, launches(10, count=1)) is None
    assert speedup(launches(10, count=1), launches(10, count=1)) is None


def test_launches_in_which_everything_was_slow_are_found() -> None:
    slow = [1.0, 1.02, 1.9, 1.0, 1.5, 1.0]
    times: dict[str, list[Measurement | Failure]] = {
        "default": [Measurement(samples_us=(100 * f,)) for f in slow],
        "single:a": [Measurement(samples_us=(80 * f,)) for f in slow],
        "plan:1": [Measurement(samples_us=(60.0,)) for _ in slow],
    }
    assert undisturbed(times) == [0, 1, 3, 5]


def test_a_job_that_is_slow_on_its_own_disturbs_nothing() -> None:
    failed = Failure(kind=FailureKind.CRASH, message="killed by signal 11")
    times: dict[str, list[Measurement | Failure]] = {
        "default": launches(100),
        "single:a": launches(80, seed=1),
        "plan:1": [Measurement(samples_us=(60.0 if at % 2 else 200.0,)) for at in range(8)],
        "plan:2": [failed] * 8,
    }
    assert undisturbed(times) == list(range(8))
