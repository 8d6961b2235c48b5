"""Every processor alone at its best threads and streams, on machines of two and of sixteen cores."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.api import SearchSettings, baselines, screening
from autotune.api.baselines import measure_baselines
from autotune.api.clock import Budget
from autotune.api.gathering import choose_lanes
from autotune.api.run import Contender, Run
from autotune.core import Failure, FailureKind, Lane, Measurement, OutputError, Precision, Processor, Scenario
from autotune.profiler import Job, JobStage

CPU = Processor(name="cpu", provider="CPUExecutionProvider", device="cpu", version="1")
OPENVINO = Processor(
    name="openvino:cpu",
    provider="OpenVINOExecutionProvider",
    device="cpu",
    version="1",
    precisions=(Precision.F32, Precision.BF16),
)
GOOD = OutputError(relative_rms=0.0, max_abs=0.0)
Speed = Callable[[Lane, int], float]


def each(lane: Lane) -> int:
    """Threads of one inference."""
    setting = lane.concurrency
    return setting.threads // (setting.streams if lane.processor != "cpu" else 1)


def best_at(threads: int) -> Speed:
    """Microseconds that grow on both sides of a number of threads for each inference; pinned a little less."""

    def speed(lane: Lane, callers: int) -> float:
        away = abs(math.log2(each(lane) / threads)) if lane.concurrency.threads else 3.0
        return 1e4 * (1 + away) * (0.99 if lane.concurrency.cores else 1.0)

    return speed


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """The baselines of a machine that was made up."""

    def measure(scenario: Scenario, cores: int, speed: Speed, *, budget: Budget | None = None) -> Run:
        def screen(jobs: list[Job], **_: Any) -> list[Measurement]:
            return [Measurement(samples_us=(speed(job.stages[0].lane, job.callers),)) for job in jobs]

        def job(candidate: Any, name: str) -> Job:
            stages = tuple(JobStage(file="m.onnx", lane=stage.lane) for stage in candidate.stages)
            return Job(name=name, stages=stages, outputs=(), feeds="", callers=candidate.callers, scenario=scenario)

        samples = SimpleNamespace(path="samples.npz", reference=[])
        task = SimpleNamespace(
            graph=SimpleNamespace(kernels=[0], source="m.onnx"), outputs=(), feeds="", real_inputs=True,
            search_samples=samples, error=lambda *_: GOOD, part_errors=lambda *_: {},
        )  # fmt: skip
        run = Run(
            settings=SearchSettings(scenario=scenario),
            place=SimpleNamespace(device=SimpleNamespace(cores=tuple(range(cores))), processors=(CPU, OPENVINO)),  # type: ignore[arg-type]
            task=task,  # type: ignore[arg-type]
            bench=SimpleNamespace(job=job),  # type: ignore[arg-type]
            store=None,  # type: ignore[arg-type]
            budget=budget or Budget(1e4),
            observer=SimpleNamespace(progress=lambda *_, **__: None, event=lambda *_: None),  # type: ignore[arg-type]
            worker=None,  # type: ignore[arg-type]
        )
        monkeypatch.setattr(baselines, "screen", screen)
        monkeypatch.setattr(screening, "screen", screen)
        monkeypatch.setattr(baselines, "policies", lambda: ())
        monkeypatch.setattr(baselines, "run_outputs", lambda *_, **__: [])
        measure_baselines(run)
        return run

    return measure


@pytest.mark.parametrize(
    ("choices", "measured"),
    [
        ([("gpu",), ("cpu",), ("gpu",)], ["A", "B"]),
        ([("C",), ("B",), ("A",)], ["A", "B", "C"]),
        (Failure(kind=FailureKind.CRASH, message=""), ["A", "B", "C"]),
    ],
)
def test_policies_that_choose_alike_are_measured_once(
    monkeypatch: pytest.MonkeyPatch, choices: object, measured: list[str]
) -> None:
    monkeypatch.setattr(baselines, "policies", lambda: ("A", "B", "C"))
    worker = SimpleNamespace(call=lambda *_, **__: choices)
    assert baselines._policies(SimpleNamespace(worker=worker)) == measured  # type: ignore[arg-type]


def of(run: Run, processor: Processor, precision: Precision) -> list[Contender]:
    """Its settings without batches, the fastest first."""
    found = [c for c in run.singles() if c.name != "default" and "batch" not in c.name]
    return [c for c in found if (c.lanes[0].processor, c.lanes[0].precision) == (processor.name, precision)]


KINDS = [(CPU, Precision.F32), (OPENVINO, Precision.F32), (OPENVINO, Precision.BF16)]


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 6, 8, 12, 16])
def test_on_sixteen_cores_the_best_number_of_threads_is_found_by_few_measurements(
    measured: Callable[..., Run], threads: int
) -> None:
    run = measured(Scenario.SINGLE_STREAM, 16, best_at(threads))
    for processor, precision in KINDS:
        found = of(run, processor, precision)
        assert found[0].lanes[0].concurrency.threads == threads
        assert len(found) <= 10


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16])
def test_on_sixteen_cores_the_best_number_of_streams_is_found(measured: Callable[..., Run], threads: int) -> None:
    run = measured(Scenario.OFFLINE, 16, best_at(threads))
    for processor, precision in KINDS:
        found = of(run, processor, precision)
        best = found[0]
        assert best.candidate is not None
        assert each(best.lanes[0]) == threads
        assert threads == 16 or best.candidate.callers == 16 // threads
        assert len(found) <= 14
        if processor is OPENVINO and threads < 16:
            assert f"t16/s{16 // threads}" in {str(c.lanes[0]).partition(f"{precision}/")[2] for c in found}
        if processor is CPU and threads < 16:  # pinned, each stream to cores of its own
            assert len(best.lanes[0].concurrency.cores) == 16


@pytest.mark.parametrize(("threads", "cores"), [(16, 16), (6, 6), (1, 0)])
def test_threads_of_one_request_are_pinned_where_there_are_several(
    measured: Callable[..., Run], threads: int, cores: int
) -> None:
    run = measured(Scenario.SINGLE_STREAM, 16, best_at(threads))
    pinned = [contender for contender in run.singles() if contender.lanes[0].concurrency.cores]
    assert [contender.lanes[0].processor for contender in pinned] == ["cpu"]
    assert of(run, *KINDS[0])[0].lanes[0].concurrency.cores == tuple(range(cores))


TWO_CORES = {
    Scenario.SINGLE_STREAM: [
        "cpu/f32/t2", "cpu/f32/t1", "cpu/f32/t2/nospin",
        "openvino:cpu/f32/t2", "openvino:cpu/f32/t1", "openvino:cpu/bf16/t2", "openvino:cpu/bf16/t1",
    ],
    Scenario.OFFLINE: [
        "cpu/f32/t2", "cpu/f32/t2 x2", "cpu/f32/t1 x2", "cpu/f32/t1/s2/c0+1 x2",
        "cpu/f32/t2/nospin", "cpu/f32/t2/nospin x2",
        "openvino:cpu/f32/t2", "openvino:cpu/f32/t2 x2", "openvino:cpu/f32/t2/s2 x2", "openvino:cpu/f32/t1 x2",
        "openvino:cpu/bf16/t2", "openvino:cpu/bf16/t2 x2", "openvino:cpu/bf16/t2/s2 x2", "openvino:cpu/bf16/t1 x2",
    ],
}  # fmt: skip


@pytest.mark.parametrize("scenario", TWO_CORES)
def test_two_cores_have_nothing_in_between(measured: Callable[..., Run], scenario: Scenario) -> None:
    run = measured(scenario, 2, best_at(1))
    names = [name for name in run.contenders if "batch" not in name]
    assert names == ["default", *(f"single:{name}" for name in TWO_CORES[scenario])]


def test_a_small_budget_stays_with_the_first_settings(measured: Callable[..., Run]) -> None:
    budget = Budget(100.0, clock=iter([0.0, *[50.0] * 10_000]).__next__)
    run = measured(Scenario.SINGLE_STREAM, 16, best_at(4), budget=budget)
    assert {each(contender.lanes[0]) for contender in of(run, *KINDS[1])} == {16, 8, 1}


def test_lanes_that_differ_by_few_threads_are_not_all_profiled(measured: Callable[..., Run]) -> None:
    run = measured(Scenario.SINGLE_STREAM, 16, lambda lane, _: 1e4 - each(lane) if lane.concurrency.threads else 2e4)
    (setting,), lanes = choose_lanes(run)
    threads = [lane.concurrency.threads for lane in lanes[setting] if lane.processor == OPENVINO.name]
    assert threads.count(16) == 2
    assert not {12, 14, 15} & set(threads)
