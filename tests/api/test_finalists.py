"""What is launched in fresh processes: each costs every launch its time."""

from __future__ import annotations

import pytest

from autotune.api import deciding
from autotune.api.clock import Budget
from autotune.api.deciding import LAUNCHES, SPENT, decide_run, launch_s

from .test_front import a_run


@pytest.mark.parametrize(
    ("partitions", "launched"),
    [
        ({"plan:near": 3300.0, "plan:beside": 3400.0}, {"plan:near", "plan:beside"}),
        ({"plan:near": 3300.0, "plan:far": 3700.0}, {"plan:near"}),
        ({"plan:far": 3700.0}, set()),
    ],
)
def test_a_partition_far_behind_the_best_single_processor_is_no_finalist(
    monkeypatch: pytest.MonkeyPatch, partitions: dict[str, float], launched: set[str]
) -> None:
    times = {"default": 4000.0, "single:even": 3000.0} | partitions
    run = a_run((), {name: (us, 1 << 20, 0.0) for name, us in times.items()})
    run.launches.clear()
    run.budget = Budget(100.0)
    seen: list[set[str]] = []
    monkeypatch.setattr(deciding, "_launch", lambda _, finalists, __: seen.append({one.name for one in finalists}))
    for name in ("_repeat_disturbed", "measure_held_out", "measure_memory"):
        monkeypatch.setattr(deciding, name, lambda *_: None)
    decide_run(run)
    assert seen[0] == {"default", "single:even"} | launched


@pytest.mark.parametrize(("affordable", "launched"), [(3, 3), (2, 2), (1, 1), (0, 1)])
def test_the_second_of_its_kind_is_left_out_where_it_would_cost_launches(
    monkeypatch: pytest.MonkeyPatch, affordable: int, launched: int
) -> None:
    plans = {f"plan:{at}": 3300.0 + at for at in range(3)}
    run = a_run((), {n: (us, 1 << 20, 0.0) for n, us in ({"default": 4e3, "single:even": 3e3} | plans).items()})
    run.launches.clear()
    likely = [run.contenders[name] for name in ("default", "single:even", *list(plans)[:affordable])]
    run.budget = Budget(LAUNCHES * launch_s(run, likely) / SPENT + 0.1, clock=lambda: 0.0)
    seen: list[tuple[list[str], int]] = []
    monkeypatch.setattr(deciding, "_launch", lambda _, some, count: seen.append(([one.name for one in some], count)))
    for name in ("_repeat_disturbed", "measure_held_out", "measure_memory"):
        monkeypatch.setattr(deciding, name, lambda *_: None)
    decide_run(run)
    assert [name for name in seen[0][0] if name.startswith("plan:")] == list(plans)[:launched]
    assert seen[0][1] == (LAUNCHES if affordable else LAUNCHES - 2)
