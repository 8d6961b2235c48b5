"""A small network as a file, and one finished search of it; two of them, and searches of both together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.api import (
    JointSearchResult,
    Participant,
    SearchResult,
    SearchSettings,
    baselines,
    screening,
    search,
    search_together,
    searching,
    together_measuring,
)
from autotune.api import together as orchestration
from autotune.api.run import Run
from autotune.core import Measurement
from autotune.profiler import Job, JointJob, JointResult, JointTimes, MemberTimes
from autotune.profiler.together import together_here

PLENTY_S = 600.0
"""Never spent: a search ends by itself, so that what it reaches does not depend on how fast the machine is."""

Speed = Callable[[JointJob], float]


def write_model(path: Path, *, batch: str | int = "batch", size: int = 24) -> Path:
    """Six convolutions with a skip connection; two outputs, one of them integer."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for at in range(6):
        drawn = (rng.standard_normal((8, 8 if at else 3, 3, 3)) * 0.25).astype(np.float32)
        weights.append(numpy_helper.from_array(drawn, f"w{at}"))
        source = f"a{at}" if at else "images"
        nodes.append(helper.make_node("Conv", [source, f"w{at}"], [f"c{at}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{at}"], [f"a{at + 1}"]))
    nodes.append(helper.make_node("Add", ["a6", "a3"], ["scores"]))
    nodes.append(helper.make_node("ArgMax", ["scores"], ["best"], axis=1))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, size, size])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 8, size, size]),
            helper.make_tensor_value_info("best", TensorProto.INT64, [batch, 1, size, size]),
        ],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def bare_run(settings: SearchSettings, **parts: Any) -> Run:
    """A run with nothing behind it but the parts given; who watches it sees nothing."""
    quiet = SimpleNamespace(progress=lambda *_, **__: None, event=lambda *_: None)
    none = dict.fromkeys(("place", "task", "bench", "store", "budget", "worker"))
    return Run(**{"settings": settings, "observer": quiet, **none, **parts})


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model, its inputs and a home."""
    folder = tmp_path_factory.mktemp("search")
    write_model(folder / "small.onnx")
    samples = np.random.default_rng(0).standard_normal((4, 1, 3, 24, 24)).astype(np.float32)
    np.savez(folder / "inputs.npz", images=samples)
    return folder


def quick(place: Path, **changes: object) -> SearchSettings:
    """Settings of a search that takes seconds: of the processor that every machine has."""
    values: dict[str, object] = {
        "home": place / "home",
        "processors": ("cpu",),
        "budget_s": 5.0,
        "trials": 20,
        "track": False,
        "inputs": (place / "inputs.npz",),
    }
    return SearchSettings(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def found(place: Path) -> SearchResult:
    """A finished search in SingleStream."""
    return search(place / "small.onnx", quick(place, budget_s=PLENTY_S, output=place / "plan"))


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """How noisy this machine is takes a second to say, of every search."""
    monkeypatch.setattr(searching, "noise_check", lambda **_: SimpleNamespace(warnings=()))


@pytest.fixture
def singles_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that end with the baselines, as screened."""
    monkeypatch.setattr(searching, "gather", lambda _: None)
    monkeypatch.setattr(searching, "decide_run", lambda _: None)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    write_model(folder / "small.onnx")
    write_model(folder / "wide.onnx", size=32)
    for name, size in (("small", 24), ("wide", 32)):
        samples = np.random.default_rng(0).standard_normal((4, 1, 3, size, size)).astype(np.float32)
        np.savez(folder / f"{name}.npz", images=samples)
    return folder


def participants(pair: Path, **changes: object) -> list[Participant]:
    return [
        Participant(model=str(pair / f"{name}.onnx"), inputs=(pair / f"{name}.npz",), **changes)  # type: ignore[arg-type]
        for name in ("small", "wide")
    ]


def measured_by(speed: Speed) -> Callable[..., list[list[JointResult]]]:
    """Stands in for `measure_together`: runs each job once here, and reports what `speed` says (1 is as if alone)."""

    def measure(
        jobs: Sequence[JointJob], *, launches: int, on_result: Any = None, stop: Any = None, **_: Any
    ) -> list[list[JointResult]]:
        results: list[list[JointResult]] = [[] for _ in jobs]
        for job in jobs:
            together_here(job, 0.002, 0.0)
        for _launch in range(launches):
            for at, job in enumerate(jobs):
                us = 1000.0 / speed(job)
                members = tuple(MemberTimes(each_us=us, latencies_us=(us,)) for _ in job.members)
                results[at].append(JointTimes(members=members, load_s=0.0))
                if on_result is not None:
                    on_result(at, results[at][-1])
        return results

    return measure


def screened(jobs: Sequence[Job], **_: Any) -> list[Measurement]:
    """Stands in for `screen`: one thread takes 1.5 times as long as all."""
    return [
        Measurement(samples_us=(150.0 if job.stages[0].lane.concurrency.threads == 1 else 100.0,) * 3) for job in jobs
    ]


def pinned(job: JointJob) -> bool:
    return all(stage.lane.concurrency.cores for member in job.members for stage in member.stages)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Callable[[Speed], None]:
    """Own searches find that models scale badly over threads; joint plans are as fast as the test says."""
    monkeypatch.setattr(searching, "gather", lambda _: None)
    monkeypatch.setattr(searching, "decide_run", lambda _: None)
    monkeypatch.setattr(baselines, "screen", screened)
    monkeypatch.setattr(screening, "screen", screened)
    monkeypatch.setattr(orchestration, "noise_check", lambda **_: SimpleNamespace(warnings=()))

    def use(speed: Speed) -> None:
        monkeypatch.setattr(together_measuring, "measure_together", measured_by(speed))

    use(lambda job: 1.0 if len(job.members) == 1 else 0.7 if pinned(job) else 0.5)
    return use


def search_pair(pair: Path, **changes: object) -> JointSearchResult:
    given = {"budget_s": PLENTY_S, "inputs": (), "output": pair / "plan"} | changes
    return search_together(participants(pair), quick(pair, **given))
