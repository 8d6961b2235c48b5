"""Plans of lanes that work at the same time: what is proposed can run, covers the model and keeps its outputs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from autotune.core import Candidate, Lane, Scenario, SplitChoice, StageChoice
from autotune.errors import ModelError, PlanError
from autotune.graph import Graph, Split, can_divide, find_sites, load, random_inputs
from autotune.planning import KernelNeeds, LaneTeam, kernel_needs, parallel_proposals, write_stages
from autotune.planning.costs import LaneCost
from autotune.planning.divided import divided_candidate, split_candidates
from autotune.planning.parallel import branch_candidate, pipeline_candidates, stages_of
from autotune.runtime import StageRunner

LANES = (Lane.parse("cpu/f32/t1"), Lane.parse("cpu/f32/t2"))  # not pinned: a machine with one core runs this too
THREE = (*LANES, Lane.parse("cpu/f32/t1/nospin"))
FREE = LaneCost(call_us=0.0, per_byte_in_us=0.0, per_byte_out_us=0.0)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """A stem, two branches of two convolutions, their sum, and a head."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def conv(source: str, target: str, channels: int = 8) -> str:
        drawn = (rng.standard_normal((8, channels, 3, 3)) * 0.2).astype(np.float32)
        weights.append(numpy_helper.from_array(drawn, f"w_{target}"))
        nodes.append(helper.make_node("Conv", [source, f"w_{target}"], [f"c_{target}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c_{target}"], [target]))
        return target

    stem = conv("x", "stem", 3)
    left, right = (conv(conv(stem, f"{side}0"), f"{side}1") for side in ("left", "right"))
    nodes.append(helper.make_node("Concat", [left, right], ["joined"], axis=1))
    nodes.append(helper.make_node("GlobalAveragePool", ["joined"], ["pooled"]))
    made = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("pooled", right)],
        weights,
    )
    path = tmp_path_factory.mktemp("branches") / "branches.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return load(path)


def team(
    graph: Graph, kernel_us: np.ndarray | None = None, *, cost: LaneCost = FREE, lanes: tuple[Lane, ...] = LANES
) -> LaneTeam:
    count = len(graph.kernels)
    table = np.full((count, len(lanes)), 1000.0) if kernel_us is None else kernel_us
    return LaneTeam(lanes=lanes, kernel_us=table, costs=(cost,) * len(lanes), needs=kernel_needs(graph))


def outputs(graph: Graph, candidate: Candidate, folder: Path) -> list[np.ndarray]:
    written = write_stages(graph, candidate, folder)
    runner = StageRunner([(stage.path, stage.choice.lane) for stage in written], [t.name for t in graph.outputs])
    try:
        return list(runner.run(None, random_inputs(graph.inputs, seed=1)))
    finally:
        runner.close()


def whole(graph: Graph) -> Candidate:
    return Candidate(stages=(StageChoice(start=0, stop=len(graph.kernels), lane=LANES[0]),))


def test_branches_run_beside_each_other_and_give_the_same(graph: Graph, tmp_path: Path) -> None:
    together = team(graph)
    candidate = branch_candidate(together, seconds=0.3, seed=0)
    assert candidate is not None
    alone_us = together.estimate_us(whole(graph), Scenario.SINGLE_STREAM)
    assert together.estimate_us(candidate, Scenario.SINGLE_STREAM) < 0.8 * alone_us
    wanted = outputs(graph, whole(graph), tmp_path / "whole")
    for got, want in zip(outputs(graph, candidate, tmp_path / "sets"), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_any_placement_becomes_stages_that_can_run(
    graph: Graph, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    processor = np.random.default_rng(seed).integers(0, 2 + seed % 2, len(graph.kernels)).tolist()
    placed = team(graph, lanes=THREE)
    candidate = Candidate(stages=tuple(stages_of(placed, processor, range(len(graph.kernels)), eager=seed % 4 > 1)))
    folder = tmp_path_factory.mktemp("placed")
    wanted = outputs(graph, whole(graph), folder / "whole")
    for got, want in zip(outputs(graph, candidate, folder / "sets"), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_stages_of_a_schedule_cover_every_kernel_once_and_need_earlier_stages_only(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    before = tuple(
        tuple(sorted(data.draw(st.sets(st.integers(0, k - 1), max_size=3)))) if k else () for k in range(count)
    )
    processor = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    needs = KernelNeeds(before=before, bytes_out=(4,) * count)
    lanes = LaneTeam(lanes=THREE, kernel_us=np.ones((count, 3)), costs=(FREE,) * 3, needs=needs)
    candidate = Candidate(stages=tuple(stages_of(lanes, processor, range(count), eager=data.draw(st.booleans()))))
    assert sorted(k for stage in candidate.stages for k in stage.positions) == list(range(count))
    assert all(stage.lane == THREE[processor[k]] for stage in candidate.stages for k in stage.positions)
    lanes.staged(candidate)  # refuses a stage that needs a later one


def test_divided_chains_give_the_same_and_are_predicted_faster(graph: Graph, tmp_path: Path) -> None:
    together = team(graph)
    (first, *_) = split_candidates(together, find_sites(graph, longest=2))
    assert first.splits
    assert first.source(serial=False) == "split"
    assert {stage.part for stage in first.stages} == {None, 0, 1}
    alone_us = together.estimate_us(whole(graph), Scenario.SINGLE_STREAM)
    assert together.estimate_us(first, Scenario.SINGLE_STREAM) < alone_us
    wanted = outputs(graph, whole(graph), tmp_path / "whole")
    for got, want in zip(outputs(graph, first, tmp_path / "parts"), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_nothing_is_divided_where_beginning_and_joining_cost_more(graph: Graph) -> None:
    dear = team(graph, cost=LaneCost(call_us=1e5, per_byte_in_us=0.0, per_byte_out_us=0.0))
    assert not list(split_candidates(dear, find_sites(graph, longest=2)))


@pytest.mark.parametrize("end", ["per_byte_in_us", "per_byte_out_us"])
def test_nothing_is_divided_where_copying_costs_more(graph: Graph, end: str) -> None:
    free = {"call_us": 0.0, "per_byte_in_us": 0.0, "per_byte_out_us": 0.0}
    sites = [site for site in find_sites(graph, longest=1) if site.kernels != (0,)]  # the model's input is no kernel's
    assert list(split_candidates(team(graph, cost=LaneCost(**free)), sites))
    assert not list(split_candidates(team(graph, cost=LaneCost(**free | {end: 10.0})), sites))


def test_a_part_without_its_split_is_refused(graph: Graph, tmp_path: Path) -> None:
    site = find_sites(graph, longest=1)[0]
    split = SplitChoice(kernels=site.kernels, axis=site.axis, shares=(0.5, 0.5))
    candidate = divided_candidate(team(graph), {split: LANES})
    with pytest.raises(ModelError, match="no split of the plan divides"):
        write_stages(graph, Candidate(stages=candidate.stages), tmp_path)


def test_a_pipeline_is_cut_where_its_slowest_lane_has_least_to_do(graph: Graph) -> None:
    count = len(graph.kernels)
    kernel_us = np.random.default_rng(3).uniform(10, 100, (count, 2))
    found = {stage.stages[0].lane: stage for stage in pipeline_candidates(team(graph, kernel_us), graph.cuts)}
    legal = [cut.position for cut in graph.cuts[1:-1] if cut.legal]
    for first, second in itertools.permutations(range(2)):
        loads = {at: max(kernel_us[:at, first].sum(), kernel_us[at:, second].sum()) for at in legal}
        assert loads[found[LANES[first]].stages[0].stop] == pytest.approx(min(loads.values()))


def test_offline_a_balanced_pipeline_is_predicted_to_have_twice_the_throughput(graph: Graph) -> None:
    together = team(graph)
    found = parallel_proposals(together, scenario=Scenario.OFFLINE, cuts=graph.cuts, sites=(), seconds=0.1, seed=0)
    alone_us = together.estimate_us(whole(graph), Scenario.OFFLINE)
    pipeline = next(proposal for proposal in found if proposal.origin == "pipeline")
    assert pipeline.candidate.callers == 3
    assert pipeline.predicted_us < 0.8 * alone_us


def test_splits_back_to_back_wait_for_the_join_only(graph: Graph, tmp_path: Path) -> None:
    """The second chain's parts each need the first one's whole result; neither may wait for the other."""
    sites = {site.kernels: site for site in find_sites(graph, longest=1)}
    splits = [SplitChoice(kernels=k, axis=sites[k].axis, shares=(0.5, 0.5)) for k in ((1,), (2,))]
    candidate = divided_candidate(team(graph), dict.fromkeys(splits, LANES))
    written = write_stages(graph, candidate, tmp_path / "parts")
    joins = [stage for stage in written if stage.choice.part == 2]
    assert len(joins) == 1
    second = [stage for stage in written if stage.choice.kernels == (2,) and stage.choice.part in (0, 1)]
    made = {name for stage in second for name in stage.outputs}
    assert all(not made & set(stage.inputs) for stage in second)
    again = Candidate(stages=tuple(stage.choice for stage in written), splits=candidate.splits)
    wanted = outputs(graph, whole(graph), tmp_path / "whole")
    for one in (candidate, again):
        for got, want in zip(outputs(graph, one, tmp_path / one.hash), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_chains_are_divided_among_three_lanes_and_requests_overlap_there(graph: Graph, tmp_path: Path) -> None:
    together = team(graph, lanes=THREE)
    asked: list[SplitChoice] = []

    def fits(split: SplitChoice) -> bool:
        asked.append(split)
        return can_divide(graph, Split(operators=operators(graph, split), axis=split.axis, shares=split.shares))

    candidate = next(split_candidates(together, find_sites(graph, longest=2), fits=fits))
    assert any(len(split.shares) == 3 for split in candidate.splits)
    assert asked
    assert {stage.lane for stage in candidate.stages} == set(THREE)
    two = next(split_candidates(team(graph), find_sites(graph, longest=2)))
    predicted = [own.estimate_us(c, Scenario.SINGLE_STREAM) for own, c in ((together, candidate), (team(graph), two))]
    assert predicted[0] < predicted[1]
    wanted = outputs(graph, whole(graph), tmp_path / "whole")
    written = write_stages(graph, candidate, tmp_path / "parts")
    runner = StageRunner([(stage.path, stage.choice.lane) for stage in written], [t.name for t in graph.outputs])
    try:
        pipeline = runner.pipeline()
        futures = [pipeline.submit(None, random_inputs(graph.inputs, seed=1)) for _ in range(6)]
        for future in futures:
            for got, want in zip(future.result(timeout=60), wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        pipeline.close()
    finally:
        runner.close()


def test_a_lane_beyond_the_cores_of_this_process_is_refused(graph: Graph, tmp_path: Path) -> None:
    lanes = (*LANES, Lane.parse("cpu/f32/t1/c900"))
    count = len(graph.kernels)
    stages = zip((0, 1, 2), (1, 2, count), lanes, strict=True)
    candidate = Candidate(stages=tuple(StageChoice(start=a, stop=b, lane=lane) for a, b, lane in stages))
    with pytest.raises(PlanError, match=r"c900/nospin is pinned to core 900, this process may use \d"):
        outputs(graph, candidate, tmp_path)


def operators(graph: Graph, split: SplitChoice) -> tuple[str, ...]:
    return tuple(name for kernel in split.kernels for name in graph.kernels[kernel].operators)


def test_a_chain_that_has_no_three_parts_is_divided_in_two(graph: Graph) -> None:
    together, sites = team(graph, lanes=THREE), find_sites(graph, longest=2)
    candidate = next(split_candidates(together, sites, fits=lambda _: False))
    assert {len(split.shares) for split in candidate.splits} == {2}
    site = next(site for site in sites if site.size == 8)
    parts = [(0.25,) * 4, (0.1,) * 10]
    made = [Split(operators=site.operators, axis=site.axis, shares=shares) for shares in parts]
    assert [can_divide(graph, split) for split in made] == [True, False]


def test_lanes_that_are_alike_give_one_candidate(graph: Graph) -> None:
    cores = tuple(Lane.parse(f"cpu/f32/t1/c{core}") for core in range(3))
    alike = team(graph, lanes=cores)
    assert len(list(split_candidates(alike, find_sites(graph, longest=2)))) == 1
    assert len(list(pipeline_candidates(alike, graph.cuts))) == 1
    assert alike.unlike_groups([(0, 1), (1, 2), (0, 1, 2)]) == [(0, 1), (0, 1, 2)]
    assert len(list(pipeline_candidates(team(graph, lanes=THREE), graph.cuts))) == 1  # spinning tells nothing apart


def test_a_pipeline_of_three_is_cut_where_its_slowest_lane_has_least_to_do(graph: Graph, tmp_path: Path) -> None:
    count = len(graph.kernels)
    kernel_us = np.random.default_rng(4).uniform(10, 100, (count, 3))
    kernel_us[2, 1] = np.inf  # one lane lacks a kernel
    found = list(pipeline_candidates(team(graph, kernel_us, lanes=THREE), graph.cuts))
    legal = [cut.position for cut in graph.cuts[1:-1] if cut.legal]
    best: dict[tuple[int, ...], float] = {}
    for order in itertools.permutations(range(3)):
        for first, second in itertools.combinations(legal, 2):
            spans = zip((0, first, second), (first, second, count), order, strict=True)
            heaviest = max(kernel_us[start:stop, lane].sum() for start, stop, lane in spans)
            best[order] = min(heaviest, best.get(order, np.inf))
    assert len(found) == sum(np.isfinite(heaviest) for heaviest in best.values())
    for candidate in found:
        order = tuple(THREE.index(stage.lane) for stage in candidate.stages)
        heaviest = max(kernel_us[s.start : s.stop, lane].sum() for s, lane in zip(candidate.stages, order, strict=True))
        assert heaviest == pytest.approx(best[order])
    wanted = outputs(graph, whole(graph), tmp_path / "whole")
    for got, want in zip(outputs(graph, found[0], tmp_path / "three"), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_each_busy_neighbour_slows_a_lane(graph: Graph) -> None:
    plain = team(graph, lanes=THREE)
    slowed = replace(plain, corun={(0, 1): 1.5, (0, 2): 1.2})
    assert slowed.beside(0, (0, 1, 2)) == pytest.approx(1.8)
    assert slowed.beside(1, (0, 2)) == 1.0
    shares = []
    for own in (plain, replace(plain, corun={(0, 1): 2.0, (0, 2): 2.0})):
        made = [c for c in split_candidates(own, find_sites(graph, longest=1)) if c.stages[0].lane == THREE[0]]
        shares.append(made[0].splits[0].shares[0])
    assert shares[1] < shares[0]


def test_each_hand_over_between_lanes_costs_what_was_measured(graph: Graph) -> None:
    cheap, dear = (replace(team(graph), handover_us=us) for us in (10.0, 400.0))
    (pipeline,) = pipeline_candidates(cheap, graph.cuts)
    times = [own.estimate_us(pipeline, Scenario.SINGLE_STREAM) for own in (cheap, dear)]
    assert times[1] - times[0] == pytest.approx(390.0)
    sites = find_sites(graph, longest=1)
    assert list(split_candidates(cheap, sites))
    assert not list(split_candidates(dear, sites))  # two hand-overs are more than half of a kernel
