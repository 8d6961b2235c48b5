"""What the study knows of what was measured."""

from __future__ import annotations

import math

import pytest

from autotune.planning import Explorer, Proposal
from tests.planning.test_chain import random_table


@pytest.fixture
def explorer() -> Explorer:
    """A study in memory."""
    return Explorer(name="a", storage=None, seed=0)


def exact_answer(explorer: Explorer, *, trials: int) -> Proposal:
    """The one of a table where no error is too large."""
    found = explorer.explore([random_table(6, 5, illegal=0.0)], budgets=[1e9], trials=trials, until=math.inf)
    (exact,) = (proposal for proposal in found if proposal.origin == "exact")
    return exact


def test_an_exact_answer_that_a_trial_decodes_to_is_a_trial_once_it_is_measured(explorer: Explorer) -> None:
    exact = exact_answer(explorer, trials=4)
    explorer.measured(exact, 42.0)
    added = explorer._study.trials[-1]
    assert added.value == 42.0
    assert added.params == dict(exact.parameters)
    assert added.user_attrs == {"candidate": exact.candidate.hash, "measured": True}


def test_an_answer_without_a_place_among_the_trials_is_left_out(explorer: Explorer) -> None:
    exact = exact_answer(explorer, trials=0)
    explorer.measured(exact, 42.0)
    assert explorer._study.trials == []
