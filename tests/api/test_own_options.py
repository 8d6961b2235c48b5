"""What `--baseline` holds must be beaten: the plan's speedup over it, and a warning where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.api.deciding import conclude
from autotune.api.run import USER, Run
from autotune.api.verdict import unbeaten
from autotune.core import OutputError

from .test_front import L, M, a_run

DEFAULT_POINT = {"default": (1000.0, 1, 0.0), "single:other": (990.0, 1, 0.0)}


def with_user(user_us: float, error: float = 0.0) -> Run:
    run = a_run((), {**DEFAULT_POINT, USER: (user_us, 1, error)})
    run.contenders[USER].candidate = None
    return run


def test_options_that_are_faster_than_the_plan_are_told() -> None:
    run = with_user(900.0)
    decision = conclude(run)
    assert decision is not None
    assert decision.over[USER].ratio == pytest.approx(0.9, rel=0.02)
    (warning,) = unbeaten(run, decision)
    assert warning.startswith("your own options (--baseline) are not beaten: 0.9")
    assert warning.endswith("keep them.")


def test_options_that_are_even_with_the_plan_are_told() -> None:
    run = with_user(1000.0)
    assert unbeaten(run, conclude(run))


@pytest.mark.parametrize(("us", "error"), [(1400.0, 0.0), (900.0, 1.0)], ids=["slower", "other outputs"])
def test_options_that_are_beaten_or_not_allowed_are_not(us: float, error: float) -> None:
    run = with_user(us, error)
    assert unbeaten(run, conclude(run)) == ()


def test_without_options_or_launches_or_with_other_objectives_there_is_nothing_to_tell() -> None:
    plain = a_run((), DEFAULT_POINT)
    assert unbeaten(plain, conclude(plain)) == ()
    assert unbeaten(with_user(900.0), None) == ()
    several = with_user(900.0)
    decision = conclude(several)
    several.settings = replace(several.settings, objectives=(L, M))
    several.contenders[USER].held_out = OutputError(relative_rms=0.0, max_abs=0.0)
    assert unbeaten(several, decision) == ()
