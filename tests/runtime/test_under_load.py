"""A real plan under load, from each generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autotune.core import Scenario
from autotune.errors import MeasurementError, UsageError
from autotune.profiler.load import Load, generator, generator_names, highest_rate, issue_to
from autotune.runtime import load_plan


@pytest.mark.parametrize("name", generator_names())
def test_a_plan_runs_in_every_scenario(plan_folder: Path, name: str) -> None:
    if name == "loadgen":
        pytest.importorskip("mlperf_loadgen")
    samples = [{"in.put": np.full((1, 8), value, np.float32)} for value in range(3)]
    with load_plan(plan_folder) as plan:
        for scenario in Scenario:
            rate = 500.0 if scenario is Scenario.SERVER else 0.0
            found = generator(name).drive(issue_to(plan, samples), Load(scenario=scenario, queries=10, rate_per_s=rate))
            assert found.throughput_per_s > 0
        assert highest_rate(generator(name), issue_to(plan, samples), 10e6, queries=20).best is not None


def test_what_the_plan_refuses_ends_the_load(plan_folder: Path) -> None:
    with load_plan(plan_folder) as plan:
        bad = issue_to(plan, [{"in.put": np.zeros((1, 8), np.float64)}])
        with pytest.raises(MeasurementError, match="float64"):
            generator("own").drive(bad, Load(scenario=Scenario.OFFLINE, queries=3))
        with pytest.raises(UsageError, match="at least one sample"):
            issue_to(plan, [])
