"""Plans of lanes that work at the same time, through the whole search."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

import autotune
from autotune.api import SearchResult, parallel, search, searching
from autotune.api.knowledge import Knowledge
from autotune.api.run import Contender, Run
from autotune.core import Lane, Measurement, Scenario
from autotune.graph import load
from autotune.planning import Decision
from autotune.planning.costs import LaneCost
from autotune.predictor import SlowdownPredictor
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


def player(lane: str, whole_us: float) -> parallel.Player:
    cost = LaneCost(call_us=0.0, per_byte_in_us=0.0, per_byte_out_us=0.0)
    return parallel.Player(lane=Lane.parse(lane), whole_us=whole_us, kernel_us=np.array([whole_us]), cost=cost)


def lanes_of_teams(
    monkeypatch: pytest.MonkeyPatch, players: list[parallel.Player], *, cores: int, faster_than_us: float
) -> list[list[str]]:
    """Lanes of the teams of an invented device; nothing is measured."""
    monkeypatch.setattr(parallel, "_players", lambda *_: players)
    monkeypatch.setattr(parallel, "kernel_needs", lambda _: None)
    monkeypatch.setattr(parallel, "slowdown_predictor", lambda *_: None)
    device = SimpleNamespace(cores=tuple(range(cores)))
    task = SimpleNamespace(graph=None)
    settings = SimpleNamespace(scenario=Scenario.OFFLINE)
    run = SimpleNamespace(place=SimpleNamespace(device=device), store=None, task=task, settings=settings)
    teams = parallel.lane_teams(cast("Run", run), cast("Knowledge", None), faster_than_us=faster_than_us)
    return [[str(lane) for lane in team.lanes] for team in teams]


def test_where_sharing_without_loss_would_not_gain_nothing_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    players = [player("cpu/f32/t1", 190.0), player("cpu/f32/t2", 90.0)]
    assert lanes_of_teams(monkeypatch, players, cores=2, faster_than_us=90.0) == []


def test_two_cores_have_two_lanes_and_one_more_for_each_other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    players = [player("cpu/f32/t1", 150.0), player("cpu/f32/t2", 90.0), player("webgpu:gpu", 200.0)]
    pair = ["cpu/f32/t1/c0", "cpu/f32/t1/c1"]
    assert lanes_of_teams(monkeypatch, players[:2], cores=2, faster_than_us=90.0) == [pair]
    found = lanes_of_teams(monkeypatch, players, cores=2, faster_than_us=90.0)
    assert sorted(found) == sorted([["cpu/f32/t2", "webgpu:gpu/f32"], [*pair, "webgpu:gpu/f32"], pair])


def test_four_cores_have_teams_of_two_three_and_four_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    players = [player(f"cpu/f32/t{threads}", us) for threads, us in ((1, 200.0), (2, 130.0), (4, 100.0))]
    assert lanes_of_teams(monkeypatch, players, cores=4, faster_than_us=99.0) == [
        [f"cpu/f32/t1/c{core}" for core in range(4)],
        ["cpu/f32/t1/c0", "cpu/f32/t1/c1", "cpu/f32/t2/c2+3/nospin"],
        ["cpu/f32/t2/c0+1/nospin", "cpu/f32/t2/c2+3/nospin"],
    ]
    found = lanes_of_teams(monkeypatch, players, cores=64, faster_than_us=99.0)
    assert max(map(len, found)) == parallel.MOST_LANES
    assert len(found) <= parallel.MOST_TEAMS


@pytest.mark.parametrize("scenario", [Scenario.OFFLINE, Scenario.SINGLE_STREAM])
def test_on_four_cores_plans_of_more_than_two_lanes_are_proposed(
    monkeypatch: pytest.MonkeyPatch, place: Path, scenario: Scenario
) -> None:
    """A device that is not here: only what is predicted."""
    graph = load(place / "small.onnx", dims={"batch": 1})
    count = len(graph.kernels)
    players = [
        replace(player(f"cpu/f32/t{threads}", us * count), kernel_us=np.full(count, us))
        for threads, us in ((1, 2000.0), (2, 1300.0), (4, 1000.0))
    ]
    monkeypatch.setattr(parallel, "_players", lambda *_: players)
    monkeypatch.setattr(parallel, "slowdown_predictor", lambda *_: SlowdownPredictor())
    monkeypatch.setattr(parallel, "PLACING_S", 0.05)
    run = SimpleNamespace(
        place=SimpleNamespace(device=SimpleNamespace(cores=(0, 1, 2, 3))),
        store=None,
        task=SimpleNamespace(graph=graph),
        settings=SimpleNamespace(scenario=scenario, seed=0),
    )
    best_us = players[-1].whole_us
    teams = parallel.lane_teams(cast("Run", run), cast("Knowledge", None), faster_than_us=best_us)
    assert [len(team.lanes) for team in teams] == [4, 3, 2]
    proposals = parallel._proposals(cast("Run", run), teams)
    used = [len({stage.lane for stage in proposal.candidate.stages}) for proposal in proposals]
    assert max(used) == 4
    assert used[0] > 2
    assert proposals[0].predicted_us < best_us
    if scenario is Scenario.OFFLINE:
        pipelines = {at for at, proposal in zip(used, proposals, strict=True) if proposal.origin == "pipeline"}
        assert pipelines == {2, 3, 4}


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
