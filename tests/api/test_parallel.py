"""Plans of lanes that work at the same time, through the whole search."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import autotune
from autotune.api import SearchResult, parallel, search, searching
from autotune.api.knowledge import Knowledge
from autotune.api.run import Contender, Run
from autotune.core import Lane, Measurement
from autotune.planning import Decision
from autotune.planning.costs import LaneCost
from autotune.runtime import read_plan

from .conftest import PLENTY_S, quick

needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def hopeful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that seem heavy enough to be shared, and a gain that is believed in whatever it is."""
    true = parallel._players

    def players(run: Run, knowledge: Knowledge) -> list[parallel.Player]:
        return [
            parallel.Player(
                lane=player.lane, whole_us=player.whole_us * 1e3, kernel_us=player.kernel_us * 1e3, cost=player.cost
            )
            for player in true(run, knowledge)
        ]

    monkeypatch.setattr(parallel, "_players", players)
    monkeypatch.setattr(parallel, "LEAST_GAIN", 1e-9)


@pytest.fixture(scope="module")
def concurrent(place: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A search whose plan is a concurrent one, since nothing else may win."""

    def first_concurrent(run: Run, _: Decision | None) -> Contender:
        return next(
            c
            for c in run.contenders.values()
            if c.candidate is not None and not c.candidate.is_chain and isinstance(c.result, Measurement)
        )

    output = tmp_path_factory.mktemp("concurrent") / "plan"
    with pytest.MonkeyPatch.context() as patch:
        hopeful(patch)
        patch.setattr(searching, "winner_of", first_concurrent)
        return search(place / "small.onnx", quick(place, budget_s=PLENTY_S, output=output))


@pytest.mark.slow
@needs_two_cores
def test_at_most_three_are_measured_and_losing_is_said(concurrent: SearchResult) -> None:
    tried, gain = concurrent.parallel
    assert 1 <= tried <= parallel.MOST_MEASURED
    assert gain is not None
    assert concurrent.to_json()["parallel"] == {"tried": tried, "best_over_best_single": gain}
    lost = any("work at the same time were tried" in warning for warning in concurrent.warnings)
    assert lost == (gain <= 1)


@pytest.mark.slow
@needs_two_cores
def test_a_concurrent_plan_is_delivered_loaded_and_gives_the_models_outputs(
    concurrent: SearchResult, found: SearchResult
) -> None:
    plan = read_plan(concurrent.folder)
    assert not plan.candidate.is_chain
    assert plan.candidate.source in ("split", "parallel lanes")
    images = np.random.default_rng(5).standard_normal((1, 3, 24, 24)).astype(np.float32)
    with autotune.load_plan(concurrent.folder) as one, autotune.load_plan(found.folder) as other:
        got, wanted = one.run(["scores"], {"images": images})[0], other.run(["scores"], {"images": images})[0]
        later = one.submit(["scores"], {"images": images}).result(timeout=60)[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(got, later)
    with autotune.load_plan(concurrent.folder, fallback=True) as fallback:
        np.testing.assert_allclose(fallback.run(["scores"], {"images": images})[0], wanted, rtol=1e-3, atol=1e-4)


def test_where_sharing_without_loss_would_not_gain_nothing_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    players = [
        parallel.Player(
            lane=Lane.parse(f"cpu/f32/t{threads}"),
            whole_us=whole_us,
            kernel_us=np.array([whole_us]),
            cost=LaneCost(call_us=0.0, per_byte_in_us=0.0, per_byte_out_us=0.0),
        )
        for threads, whole_us in ((1, 190.0), (2, 90.0))
    ]
    monkeypatch.setattr(parallel, "_players", lambda *_: players)
    run = SimpleNamespace(place=SimpleNamespace(device=SimpleNamespace(cores=(0, 1))))
    assert parallel.lane_teams(run, None, faster_than_us=90.0) == []  # type: ignore[arg-type]


def test_a_plan_of_version_1_reads_the_same(found: SearchResult, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    folder.mkdir()
    for path in found.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    data = json.loads((folder / "plan.json").read_text())
    data["schema_version"] = 1
    del data["splits"]
    for stage in data["stages"]:
        del stage["kernels"], stage["part"]
    for baseline in data["baselines"]:
        if baseline["candidate"] is not None:
            del baseline["candidate"]["splits"]
            for stage in baseline["candidate"]["stages"]:
                del stage["kernels"], stage["part"]
    (folder / "plan.json").write_text(json.dumps(data))
    assert read_plan(folder).stages == found.plan.stages
