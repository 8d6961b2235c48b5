"""A winner that does not work any more when its plan is written costs itself, not the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotune.api import SearchSettings, baselines, deciding, delivery, screening, search, searching
from autotune.core import Failure, FailureKind, Measurement, Sharing
from autotune.errors import MeasurementError
from autotune.profiler import Job, run_outputs
from autotune.runtime import read_joint, read_plan

from .conftest import PLENTY_S, quick, search_pair
from .test_interrupts import timed

FIRST = "cpu/f32/t1"


def crashes(*_: Any, **__: Any) -> Failure:
    return Failure(kind=FailureKind.CRASH, message="killed by signal SIGSEGV (11)")


def gives_zeros(job: Job, samples: str, **options: Any) -> list[list[np.ndarray]]:
    outputs = run_outputs(job, samples, **options)
    assert not isinstance(outputs, Failure)
    return [[np.zeros_like(array) for array in sample] for sample in outputs]


@pytest.fixture
def settings(place: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    """A search of single processors in which one thread is the fastest."""
    monkeypatch.setattr(searching, "gather", lambda _: None)
    monkeypatch.setattr(searching, "decide_run", lambda _: None)
    for module in (baselines, screening):
        monkeypatch.setattr(module, "screen", partial(timed, one_us=100.0, all_us=150.0))
    return quick(place, budget_s=PLENTY_S, processors=("cpu",))


@pytest.mark.parametrize("launched", [False, True], ids=["screened", "launched"])
@pytest.mark.parametrize("broken", [crashes, gives_zeros])
def test_the_next_best_wins_and_a_warning_says_so(
    place: Path,
    settings: SearchSettings,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[..., Any],
    launched: bool,
) -> None:
    def flaky(job: Job, samples: str, **options: Any) -> Any:
        return (broken if str(job.stages[0].lane) == FIRST else run_outputs)(job, samples, **options)

    def launches(jobs: Sequence[Job], *, on_launch: Callable[[int, list[Measurement]], None], **_: Any) -> None:
        for done in range(6):
            on_launch(done + 1, timed(jobs, one_us=100.0, all_us=150.0))

    monkeypatch.setattr(delivery, "run_outputs", flaky)
    if launched:
        monkeypatch.setattr(deciding, "decide", launches)
        monkeypatch.setattr(searching, "decide_run", deciding.decide_run)
    result = search(place / "small.onnx", settings)
    verdict = result.plan.verdict
    assert verdict is not None
    assert verdict.winner != f"single:{FIRST}"
    assert read_plan(result.folder) == result.plan
    assert any(f"single:{FIRST} won, but the plan's files" in warning for warning in result.warnings)
    (failed,) = (baseline for baseline in result.plan.baselines if baseline.name == f"single:{FIRST}")
    assert failed.failure.startswith("the plan's files")
    assert bool(result.launched) == (result.plan.over_default is not None) == launched


def test_where_nothing_works_any_more_not_even_the_default_the_search_fails(
    place: Path, settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "run_outputs", crashes)
    with pytest.raises(MeasurementError, match=r"default cannot run this model: .*SIGSEGV"):
        search(place / "small.onnx", settings)


def test_a_joint_plan_that_fails_its_proof_leaves_own_best_plans_side_by_side(
    pair: Path, hasty: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flaky(job: Job, samples: str, **options: Any) -> Any:
        pinned = any(stage.lane.concurrency.cores for stage in job.stages)
        return (crashes if pinned else run_outputs)(job, samples, **options)

    monkeypatch.setattr(delivery, "run_outputs", flaky)
    result = search_pair(pair)
    assert result.plan.sharing is Sharing.SIDE_BY_SIDE
    assert "won, but the plan's files cannot be run: killed by signal SIGSEGV" in result.plan.reason
    assert [warning for warning in result.warnings if warning.startswith(result.plan.reason)]
    assert read_joint(result.folder) == result.plan
