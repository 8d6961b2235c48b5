"""What a scenario asks for, and what it is predicted to give."""

from __future__ import annotations

import math

import pytest

from autotune.core import Scenario, Timing
from autotune.errors import UsageError
from autotune.planning import Aim, at_pace, callers_plan
from autotune.simulator import StagedPlan

MULTI_STREAM = Aim(scenario=Scenario.MULTI_STREAM)


def forecast(aim: Aim, plan: StagedPlan, *, batch: int = 1) -> Timing:
    (found,) = aim.forecast([plan], batch=batch)
    return found


def server(bound_ms: float) -> Aim:
    return Aim(scenario=Scenario.SERVER, bound_us=bound_ms * 1e3)


def test_every_scenario_has_its_figure() -> None:
    timing = Timing(p50_us=10, p90_us=20, p99_us=30, throughput_per_s=50)
    figures = {scenario: Aim(scenario=scenario).figure_us(timing) for scenario in Scenario if scenario != "Server"}
    assert figures == {Scenario.SINGLE_STREAM: 10, Scenario.OFFLINE: 20_000, Scenario.MULTI_STREAM: 30}
    assert server(1).figure_us(timing) == 20_000


def test_what_misses_the_bound_goes_behind_what_keeps_it_the_nearest_first() -> None:
    slow_but_within = forecast(server(5), callers_plan(4900.0, callers=1))
    fast_but_missing = Timing(p50_us=5001, p90_us=5001, p99_us=5001, throughput_per_s=1e4)
    far = Timing(p50_us=9000, p90_us=9000, p99_us=9000, throughput_per_s=1e4)
    figures = [server(5).figure_us(timing) for timing in (slow_but_within, fast_but_missing, far)]
    assert figures == sorted(figures)
    assert figures[1] / figures[2] == pytest.approx(5001 / 9000)


def test_eight_samples_take_as_many_turns_as_there_are_callers() -> None:
    assert forecast(MULTI_STREAM, callers_plan(1000.0, callers=1)).p99_us == pytest.approx(8000)
    assert forecast(MULTI_STREAM, callers_plan(1000.0, callers=2)).p99_us == pytest.approx(8000)
    joined = forecast(MULTI_STREAM, callers_plan(1000.0, callers=1, batch=8), batch=8)
    assert joined.p99_us == pytest.approx(8000)
    assert joined.throughput_per_s == pytest.approx(1000)


def test_a_tighter_bound_allows_fewer_arrivals() -> None:
    plan = callers_plan(1000.0, callers=1)
    rates = [forecast(server(bound), plan).throughput_per_s for bound in (1.5, 3, 10, 100)]
    assert rates == sorted(rates)
    assert 0 < rates[0] < rates[-1] <= 1001
    missed = forecast(server(0.5), plan)
    assert missed.p99_us == pytest.approx(1000)


def test_a_request_alone_is_faster_where_callers_share_cores() -> None:
    """Two callers of a session that has all cores: what counts at a tight bound is what one request takes alone."""
    shared = callers_plan(1000.0, callers=2)  # 2 ms each, always
    known = callers_plan(1000.0, callers=2, alone_us=1100.0)
    assert forecast(Aim(scenario=Scenario.OFFLINE), known).throughput_per_s == pytest.approx(1000, rel=0.05)
    tight = server(2.5)
    assert forecast(tight, known).throughput_per_s > 1.2 * forecast(tight, shared).throughput_per_s


def test_a_pipeline_is_simulated_as_such() -> None:
    stages = StagedPlan(stage_us=(500.0, 500.0), lane=(0, 1))
    assert forecast(MULTI_STREAM, stages).p99_us == pytest.approx(4500)
    assert forecast(MULTI_STREAM, at_pace(stages, 2.0)).p99_us == pytest.approx(9000)


@pytest.mark.parametrize("bound_us", [0.0, -1.0, math.inf, math.nan])
def test_bounds_that_cannot_be_meant_are_refused(bound_us: float) -> None:
    with pytest.raises(UsageError, match="latency bound"):
        Aim(scenario=Scenario.SERVER, bound_us=bound_us)
    if bound_us:
        return
    with pytest.raises(UsageError, match="latency bound"):
        Aim(scenario=Scenario.OFFLINE, bound_us=5.0)


def test_many_plans_at_once_are_predicted_as_each_alone() -> None:
    plans = [callers_plan(pace, callers=callers) for pace in (800.0, 1000.0, 9000.0) for callers in (1, 2)]
    for aim in (MULTI_STREAM, server(5)):
        for together, plan in zip(aim.forecast(plans), plans, strict=True):
            alone = forecast(aim, plan)
            assert together.p99_us == pytest.approx(alone.p99_us)
            assert together.throughput_per_s == pytest.approx(alone.throughput_per_s)
