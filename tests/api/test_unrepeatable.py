"""Not even another run of the default keeps the tolerance (drawn at random): it is delivered, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.api import search
from autotune.api.deciding import conclude
from autotune.api.verdict import verdict_of
from autotune.core import OutputError, VerdictKind
from autotune.runtime import read_plan

from .conftest import PLENTY_S, quick
from .test_front import a_run


@pytest.mark.usefixtures("singles_only")
def test_where_no_run_keeps_the_tolerance_the_default_is_delivered_and_the_verdict_says_why(place: Path) -> None:
    result = search(place / "small.onnx", quick(place, budget_s=PLENTY_S), metric=lambda *_: 1.5)
    verdict = read_plan(result.folder).verdict
    assert verdict is not None
    assert verdict.kind is VerdictKind.DEFAULT
    assert "not even a second run of the default (error 1.5e+00)" in verdict.reason
    assert "budget" not in verdict.reason


@pytest.mark.parametrize("error", [0.5, 0.0])
def test_after_launches_the_reason_is_the_tolerance_only_where_the_default_misses_it(error: float) -> None:
    run = a_run((), {"default": (1000.0, 1, error), "single:same": (1000.0, 1, error)})
    run.contenders["default"].held_out = OutputError(relative_rms=error, max_abs=0.0)
    names = [name for name in run.contenders if run.feasible(run.contenders[name])]
    assert bool(names) == (not error)
    reason = verdict_of(run, run.contenders["default"], conclude(run)).reason
    assert ("not even a second run" in reason) == bool(error)
