"""A winner by screening that computes below float32 is looked at on the held-out samples before it is delivered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autotune.api import deciding
from autotune.api.deciding import screened_winner
from autotune.api.run import Contender, Run
from autotune.api.together_run import Member
from autotune.api.together_settings import Participant
from autotune.core import Candidate, Lane, OutputError, StageChoice

from .test_front import a_run

LOW = "single:openvino:cpu/bf16"


def a_low_run() -> Run:
    run = a_run((), {"default": (1000.0, 1, 0.0), LOW: (500.0, 1, 1e-3)})
    stage = StageChoice(start=0, stop=1, lane=Lane.parse("openvino:cpu/bf16/t2"))
    run.contenders[LOW].candidate = Candidate(stages=(stage,))
    run.contenders[LOW].held_out = None
    return run


def own_of_member(run: Run) -> Contender:
    """Its own best plan in a joint search, of which an interrupt left no decision."""
    return Member(participant=Participant(model="low"), run=run).own


@pytest.mark.parametrize("chosen_by", [screened_winner, own_of_member])
@pytest.mark.parametrize(("error", "winner"), [(0.5, "default"), (1e-3, LOW)])
def test_the_held_out_samples_decide(
    monkeypatch: pytest.MonkeyPatch, error: float, winner: str, chosen_by: Callable[[Run], Contender]
) -> None:
    def measured(_: Run, contender: Contender) -> None:
        contender.held_out = OutputError(relative_rms=error, max_abs=0.0)

    run = a_low_run()
    monkeypatch.setattr(deciding, "measure_held_out", measured)
    assert chosen_by(run).name == winner
    assert run.contenders[LOW].held_out == OutputError(relative_rms=error, max_abs=0.0)


def test_what_cannot_be_run_on_them_is_not_the_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "measure_held_out", lambda *_: None)
    assert screened_winner(a_low_run()).name == "default"
