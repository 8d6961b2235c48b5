"""A provider that hangs costs one candidate, not the search."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.api import screening as patience
from autotune.api import search, searching
from autotune.api.run import Contender
from autotune.api.screening import patience_s
from autotune.core import Candidate, Lane, Measurement, Scenario, StageChoice
from autotune.profiler import Job

from .conftest import PLENTY_S, quick

HANGS = "cpu/f32/t1"
PROVIDER = f"""
import time
from autotune.runtime import StageRunner

opens = StageRunner.__init__

def hangs(self, files, *args, **options):
    if any(str(lane) == {HANGS!r} for _, lane in files):
        time.sleep(3600)
    opens(self, files, *args, **options)

StageRunner.__init__ = hangs
"""
"""Run by Python when a worker starts."""


def test_a_lane_that_hangs_costs_itself_and_the_search_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []
    (tmp_path / "sitecustomize.py").write_text(PROVIDER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(patience, "LEAST_PATIENCE_S", 5.0)
    monkeypatch.setattr(patience, "PATIENCE_SHARE", 0.0)
    monkeypatch.setattr(searching, "gather", lambda _: reached.append("partitions"))
    monkeypatch.setattr(searching, "decide_run", lambda _: reached.append("launches"))
    result = search(place / "small.onnx", quick(place, budget_s=PLENTY_S, processors=("cpu",)))
    assert reached == ["partitions", "launches"]
    singles = {b.name: b for b in result.plan.baselines if b.name.startswith("single:")}
    assert "no sign of life" in singles.pop(f"single:{HANGS}").failure
    assert all(baseline.measured is not None for baseline in singles.values())


def a_run(*, default_us: float, load_s: float, left_s: float, callers: int = 1) -> Any:
    lane = Candidate(stages=(StageChoice(start=0, stop=1, lane=Lane.parse("cpu/f32")),), callers=callers)
    job = Job(name="default", stages=(), outputs=(), feeds="", callers=callers, scenario=Scenario.OFFLINE)
    result = Measurement(samples_us=(default_us,), load_s=load_s, peak_bytes=1)
    return SimpleNamespace(
        contenders={"default": Contender(name="default", job=job, candidate=lane, result=result)},
        overlapping=callers > 1,
        budget=SimpleNamespace(left_s=left_s),
    )


def test_patience_grows_with_the_model_and_the_budget_but_a_hang_never_takes_it_all() -> None:
    job = Job(name="j", stages=(), outputs=(), feeds="")
    small = patience_s(a_run(default_us=5e3, load_s=0.1, left_s=120.0), [job])
    assert 15.0 <= small <= 0.25 * 120.0
    assert patience_s(a_run(default_us=5e3, load_s=0.1, left_s=3600.0), [job]) > small
    assert patience_s(a_run(default_us=5e3, load_s=20.0, left_s=120.0), [job]) > small
    slow = a_run(default_us=2e6, load_s=0.1, left_s=120.0, callers=4)
    assert patience_s(slow, [job]) >= 4 * 2.0
    assert patience_s(slow, [Job(name="batch", stages=(), outputs=(), feeds="", callers=4, batch=4)]) > patience_s(
        slow, [job]
    )
