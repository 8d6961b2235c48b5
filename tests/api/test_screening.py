"""What screening makes of a machine that slows down, and which lanes are worth a partition."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from autotune.api.deciding import _that_fit
from autotune.api.gathering import choose_lanes
from autotune.api.run import Contender
from autotune.api.screening import (
    GROUP,
    MAX_ROUNDS,
    MIN_ROUNDS,
    affordable,
    screen_beside,
    sessions_that_fit,
)
from autotune.core import Candidate, Failure, FailureKind, Lane, Measurement, OutputError, StageChoice
from autotune.planning import Setting
from autotune.profiler import Job


def measured(us: float) -> Measurement:
    return Measurement(samples_us=(us,), load_s=0.1, peak_bytes=1)


def contender(name: str, result: Measurement | Failure | None = None, lane: str = "cpu/f32/t1") -> Contender:
    candidate = Candidate(stages=(StageChoice(start=0, stop=3, lane=Lane.parse(lane)),))
    job = Job(name=name, stages=(), outputs=(), feeds="")
    error = OutputError(relative_rms=0.0, max_abs=0.0, worst_output="", no_signal=())
    return Contender(name=name, job=job, candidate=candidate, result=result, error=error)


def fake_run(left_s: float = 100.0) -> Any:
    return SimpleNamespace(
        overlapping=False,
        contenders={},
        counters=SimpleNamespace(device_measurements=0),
        observer=SimpleNamespace(progress=lambda *_, **__: None),
        budget=SimpleNamespace(left_s=left_s),
    )


class Machine:
    """Slower by a half with every group that it times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times_us: dict[str, float | None]) -> None:
        self.groups: list[list[str]] = []
        self._times = times_us
        monkeypatch.setattr("autotune.api.screening.screen", self.screen)

    def screen(self, jobs: list[Job], **_: object) -> list[Measurement | Failure]:
        self.groups.append([job.name for job in jobs])
        found: list[Measurement | Failure] = []
        for job in jobs:
            time_us = self._times[job.name]
            failed = Failure(kind=FailureKind.CRASH, message="died")
            found.append(failed if time_us is None else measured(time_us * 1.5 ** len(self.groups)))
        return found


def test_the_reference_takes_out_what_the_machine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    times: dict[str, float | None] = {f"c{at}": 100.0 + at for at in range(GROUP + 2)}
    machine = Machine(monkeypatch, times | {"reference": 200.0})
    run, reference = fake_run(), contender("reference", measured(200.0))
    drifts = screen_beside(run, reference, [contender(name) for name in times], phase="p", rounds=3, seed=0)
    assert all(group[0] == "reference" for group in machine.groups)
    assert {name: c.median_us for name, c in run.contenders.items()} == pytest.approx(times)
    assert reference.median_us == 200.0
    assert drifts == pytest.approx([1.5, 1.5**2])
    assert run.counters.device_measurements == GROUP + 2 + 2


def test_a_reference_that_fails_or_was_never_measured_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for reference in (None, contender("reference"), contender("reference", measured(200.0))):
        Machine(monkeypatch, {"c": 100.0, "reference": None})
        run = fake_run()
        screen_beside(run, reference, [contender("c")], phase="p", rounds=3, seed=0)
        assert run.contenders["c"].median_us == pytest.approx(150.0)


def test_an_interrupt_keeps_the_groups_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"c{at}" for at in range(GROUP + 1)]
    machine = Machine(monkeypatch, dict.fromkeys(names, 100.0))

    def interrupted(jobs: list[Job], **kwargs: object) -> list[Measurement | Failure]:
        if machine.groups:
            raise KeyboardInterrupt
        return machine.screen(jobs, **kwargs)

    monkeypatch.setattr("autotune.api.screening.screen", interrupted)
    run = fake_run()
    with pytest.raises(KeyboardInterrupt):
        screen_beside(run, None, [contender(name) for name in names], phase="p", rounds=3, seed=0)
    assert list(run.contenders) == names[:GROUP]


@pytest.mark.parametrize(
    ("share_s", "left_s", "names", "rounds"),
    [
        (100.0, 200.0, ["a/t2", "a/t1", "b/t2", "b/t1", "user"], MAX_ROUNDS),
        (1.0, 200.0, ["a/t2", "b/t2", "user", "a/t1", "b/t1"], MIN_ROUNDS),
        (1.0, 12.0, ["a/t2"], MIN_ROUNDS),
        (1.0, 20.0, ["a/t2", "b/t2", "user"], MIN_ROUNDS),
        (-1.0, -1.0, [], 0),
    ],
)
def test_a_small_budget_goes_to_every_processor_before_further_threads(
    share_s: float, left_s: float, names: list[str], rounds: int
) -> None:
    lanes = {"a/t2": "cpu/f32/t2", "a/t1": "cpu/f32/t1", "b/t2": "openvino:cpu/f32/t2", "b/t1": "openvino:cpu/f32/t1"}
    others = [contender(name, lane=lane) for name, lane in lanes.items()]
    user = Contender(name="user", job=Job(name="user", stages=(), outputs=(), feeds=""), candidate=None)
    default = contender("default", measured(700_000.0))  # 0.7 s: about 1.5 s for a round of one
    chosen, found = affordable(fake_run(left_s), default, [*others, user], share_s=share_s)
    assert ([c.name for c in chosen], found) == (names, rounds)


def test_a_model_that_fills_the_memory_is_opened_by_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.api.screening.available_bytes", lambda: 7 << 30)
    machine = Machine(monkeypatch, dict.fromkeys(("default", "a", "b", "c"), 100.0))
    run = fake_run()
    default = contender("default", Measurement(samples_us=(100.0,), load_s=0.1, peak_bytes=1 << 30))
    run.contenders["default"] = default
    assert sessions_that_fit(run) == 3
    screen_beside(run, default, [contender(name) for name in "abc"], phase="baselines", rounds=3, seed=0)
    assert machine.groups == [["default", "a", "b"], ["default", "c"]]
    monkeypatch.setattr("autotune.api.screening.available_bytes", lambda: 1 << 30)
    assert sessions_that_fit(run) == 2


def test_finalists_that_do_not_fit_are_the_second_of_their_kind() -> None:
    finalists = [contender(name) for name in ("default", "single:a", "single:b", "plan:1", "plan:2")]
    assert [c.name for c in _that_fit(finalists, 3)] == ["default", "single:a", "plan:1"]
    assert _that_fit(finalists, 9) == finalists


def test_lanes_that_cannot_matter_are_not_profiled() -> None:
    times = {
        "cpu/f32/t2": 90.0,  # spins: in a partition the lane without spinning stands for it
        "cpu/f32/t2/nospin": 100.0,
        "cpu/f32/t1": 120.0,
        "openvino:cpu/f32/t2": 80.0,
        "openvino:cpu/f32/t1": 130.0,  # more than a quarter as slow again as the processor's best
        "openvino:cpu/bf16/t2": 40.0,  # the best at its precision: float32 is not measured against it
        "openvino:cpu/f16/t2": 110.0,  # below float32, and slower
        "webgpu:gpu/f32": 4000.0,
    }
    singles = [contender(f"single:{lane}", measured(us), lane) for lane, us in times.items()]
    singles.sort(key=lambda c: c.median_us)
    (setting,), lanes = choose_lanes(SimpleNamespace(singles=lambda: singles))  # type: ignore[arg-type]
    assert setting == Setting()
    assert {str(lane) for lane in lanes[setting]} == {
        "openvino:cpu/bf16/t2", "openvino:cpu/f32/t2", "cpu/f32/t2/nospin", "cpu/f32/t1",
    }  # fmt: skip


@pytest.mark.parametrize(("t1_us", "profiled", "chosen"), [
    (95.0, ("cpu/f32/t2/nospin",), {"cpu/f32/t2/nospin"}),  # screening cannot tell them apart: what is known is enough
    (80.0, ("cpu/f32/t2/nospin",), {"cpu/f32/t1", "cpu/f32/t2/nospin"}),
    (95.0, ("cpu/f32/t1", "cpu/f32/t2/nospin"), {"cpu/f32/t1", "cpu/f32/t2/nospin"}),
    (95.0, ("openvino:cpu/f32/t2",), {"cpu/f32/t1", "cpu/f32/t2/nospin"}),  # another processor says nothing of this one
])  # fmt: skip
def test_another_number_of_threads_is_profiled_only_where_it_is_clearly_faster(
    t1_us: float, profiled: tuple[str, ...], chosen: set[str]
) -> None:
    times = {"cpu/f32/t2/nospin": 100.0, "cpu/f32/t1": t1_us}
    singles = sorted(
        (contender(f"single:{lane}", measured(us), lane) for lane, us in times.items()), key=lambda c: c.median_us
    )
    run = SimpleNamespace(singles=lambda: singles)
    (setting,), lanes = choose_lanes(run, {Lane.parse(lane) for lane in profiled})  # type: ignore[arg-type]
    assert {str(lane) for lane in lanes[setting]} == chosen
