"""Measuring and training side by side, on an invented device and clock."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from autotune.core import Failure, Kernel, Lane, ProfileRecord
from autotune.learning import Belief, End, Lesson, Pace, Queue, Span, Work, free_core, learn
from autotune.learning import belief as believing
from autotune.predictor.boosted import BoostedTrees


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Belief] = believing.believe
    few = BoostedTrees(rounds=8, rate=0.5)
    monkeypatch.setattr("autotune.learning.loop.believe", lambda *args, **o: real(*args, **o, learner=few))


def run(
    invented: ModuleType,
    lanes: list[Lane],
    *,
    budget_s: float = 1e6,
    **how: Any,
) -> tuple[Lesson, Any, list[ProfileRecord]]:
    clock = invented.Clock()
    silent = how.pop("silent", set())
    measurer = invented.Invented(clock, **how)
    kept: list[ProfileRecord] = []
    measurer.silent = silent
    kernels = invented.kernels()
    queue = Queue(kernels, lanes, settled=set(), uses=[dict.fromkeys(kernels, 1)], seconds=lambda kernel, _: 1.0)
    pace = Pace(budget_s=budget_s, cores=invented.CORES, batch_s=10.0)
    return learn(queue, measurer, pace, on_record=kept.append, clock=clock), measurer, kept


def test_ends_when_everything_is_measured_or_agreed_on(invented: ModuleType) -> None:
    lesson, measurer, kept = run(invented, [invented.ONE, invented.ALL])
    assert lesson.end in (End.AGREED, End.MEASURED)
    assert lesson.waiting == 0
    assert lesson.measured == len(kept) == len(measurer.asked)
    assert lesson.measured + lesson.pruned == 2 * len(invented.kernels())


def test_stops_at_the_budget(invented: ModuleType) -> None:
    lesson, _, kept = run(invented, [invented.ONE], budget_s=25.0)
    assert lesson.end is End.BUDGET
    assert len(kept) == 25
    assert lesson.waiting > 0


def test_a_crash_is_the_failure_of_that_kernel_only(invented: ModuleType) -> None:
    bad = list(invented.kernels())[7]
    lesson, _, kept = run(invented, [invented.ONE], crashes=lambda kernel: kernel.signature == bad)
    failed = [record.kernel.signature for record in kept if isinstance(record.result, Failure)]
    assert failed in ([bad], [])  # unless the committee never asked for it
    assert lesson.failed == len(failed)
    assert lesson.measured >= 20


def test_kernels_that_never_give_a_record_do_not_keep_it_going(invented: ModuleType) -> None:
    lesson, measurer, kept = run(invented, [invented.ONE], silent=set(invented.kernels()))
    assert kept == []
    assert len(measurer.asked) == 2 * len(invented.kernels())
    assert lesson.waiting == 0


def test_a_lane_that_leaves_a_core_free_is_measured_while_the_committee_learns(
    invented: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[bool] = []
    clock = invented.Clock()

    class Waits(invented.Invented):  # type: ignore[name-defined,misc]
        """Goes on only once a training has begun beside it; deadlocks where none does (the first has no records)."""

        batches = 0

        def measure(self, kernels: list[Kernel], lane: Lane, **how: Any) -> None:
            self.batches += 1
            if self.batches > 1:
                assert beside.wait(60)
            super().measure(kernels, lane, **how)

    import threading

    beside = threading.Event()
    inner = believing.believe

    def training(*args: Any, **options: Any) -> Belief:
        trained.append(measurer.batches > 1)
        beside.set()
        return inner(*args, **options, learner=BoostedTrees(rounds=8, rate=0.5))

    monkeypatch.setattr("autotune.learning.loop.believe", training)
    measurer = Waits(clock)
    kernels = invented.kernels(40)
    queue = Queue(
        kernels, [invented.ONE], settled=set(), uses=[dict.fromkeys(kernels, 1)], seconds=lambda kernel, _: 1.0
    )
    pace = Pace(budget_s=1e6, cores=invented.CORES, batch_s=10.0)
    learn(queue, measurer, pace, on_record=lambda _: None, clock=clock)
    assert any(trained)
    assert set(measurer.cores) == {(0, 1, 2)}  # the core 3 trains


def test_a_lane_that_needs_every_core_is_measured_alone(invented: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    busy: list[str] = []
    clock = invented.Clock()
    inner = believing.believe

    class Alone(invented.Invented):  # type: ignore[name-defined,misc]
        def measure(self, kernels: list[Kernel], lane: Lane, **how: Any) -> None:
            assert busy == []
            busy.append("measuring")
            super().measure(kernels, lane, **how)
            busy.remove("measuring")

    def training(*args: Any, **options: Any) -> Belief:
        assert busy == []
        busy.append("training")
        found = inner(*args, **options, learner=BoostedTrees(rounds=8, rate=0.5))
        busy.remove("training")
        return found

    monkeypatch.setattr("autotune.learning.loop.believe", training)
    kernels = invented.kernels(40)
    queue = Queue(
        kernels, [invented.ALL], settled=set(), uses=[dict.fromkeys(kernels, 1)], seconds=lambda kernel, _: 1.0
    )
    measurer = Alone(clock)
    pace = Pace(budget_s=1e6, cores=invented.CORES, batch_s=10.0)
    lesson = learn(queue, measurer, pace, on_record=lambda _: None, clock=clock)
    assert lesson.measured >= 20
    assert lesson.overlap_s == 0
    assert set(measurer.cores) == {invented.CORES}


def test_overlap_is_what_two_spans_share() -> None:
    spans = (
        Span(work=Work.MEASURING, lane="cpu/f32/t1", begin_s=0.0, end_s=5.0, count=3),
        Span(work=Work.TRAINING, begin_s=3.0, end_s=6.0, count=3),
        Span(work=Work.MEASURING, lane="cpu/f32/t1", begin_s=7.0, end_s=9.0, count=3),
    )
    lesson = Lesson(end=End.BUDGET, measured=6, failed=0, pruned=0, waiting=0, spans=spans)
    assert lesson.overlap_s == 2.0


@pytest.mark.parametrize(
    ("lane", "core"),
    [("cpu/f32/t1", 3), ("cpu/f32/t3", 3), ("cpu/f32/t4", None), ("cpu/f32/t2/s2", None), ("webgpu:gpu/f32", None),
     ("cpu/f32/t2/c2+3", 1)],
)  # fmt: skip
def test_which_core_a_lane_leaves_free(lane: str, core: int | None) -> None:
    assert free_core(Lane.parse(lane), (0, 1, 2, 3)) == core
