"""What the error model learns from proposals that are measured."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from autotune.api import verifying
from autotune.api.run import Run
from autotune.api.verifying import measure_round
from autotune.core import Candidate, Lane, OutputError, StageChoice
from autotune.planning import Proposal
from autotune.profiler import Job

from .test_front import a_run

LOW, FULL = Lane.parse("openvino:cpu/bf16/t2"), Lane.parse("openvino:cpu/f32/t2")
CHAIN = Candidate(stages=(StageChoice(start=0, stop=2, lane=LOW), StageChoice(start=2, stop=4, lane=FULL)))
EXACT = Candidate(stages=(StageChoice(start=0, stop=4, lane=FULL),))
BRANCHES = Candidate(stages=(StageChoice.of((0, 2), LOW), StageChoice.of((1, 3), FULL)))
SPLIT = Candidate(stages=(StageChoice.of((0, 1), LOW, part=0), StageChoice.of((0, 1), LOW, part=1)))


class Errors:
    """Remembers what it is taught."""

    def __init__(self) -> None:
        self.taught: list[tuple[Candidate, Mapping[str, float]]] = []

    def verified(self, candidate: Candidate, found: Mapping[str, float]) -> None:
        self.taught.append((candidate, found))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    found = a_run((), {"single:even": (1000.0, 1, 0.0)})
    found.task = SimpleNamespace(  # type: ignore[assignment]
        real_inputs=True,
        search_samples=SimpleNamespace(path="feeds.npz", reference=[0]),
        error=lambda *_: OutputError(relative_rms=1e-3, max_abs=0.0),
        part_errors=lambda *_: {"y": 1e-6},
    )
    found.bench = SimpleNamespace(job=lambda _, name: Job(name=name, stages=(), outputs=(), feeds=""))  # type: ignore[assignment]
    monkeypatch.setattr(verifying, "run_outputs", lambda *_, **__: [])
    monkeypatch.setattr(verifying, "screen_beside", lambda *_, **__: None)
    return found


def test_only_chains_below_float32_teach_the_error_model(run: Run) -> None:
    """Stages of branches and parts of a split overlap as ranges of kernels: their errors would count twice."""
    errors = Errors()
    proposals = [
        Proposal(candidate=candidate, predicted_us=1.0, predicted_error=1e-3, origin="exact")
        for candidate in (CHAIN, EXACT, BRANCHES, SPLIT)
    ]
    measure_round(run, SimpleNamespace(errors=errors), proposals, 1)  # type: ignore[arg-type]
    assert errors.taught == [(CHAIN, {"y": 1e-6})]
