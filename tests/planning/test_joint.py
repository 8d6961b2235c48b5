"""Joint plans: what can be combined, what is predicted, and when one wins."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotune.core import Candidate, Fairness, Lane, Scenario, Sharing, Slowing, StageChoice
from autotune.planning import JointSpace, Objective, Option, decide_joint, joint_search, quiet, shortlist
from autotune.planning.joint_search import partitions


def option(lane: str, each_us: float, *, callers: int = 1) -> Option:
    stage = StageChoice(start=0, stop=3, lane=Lane.parse(lane))
    return Option(candidate=Candidate(stages=(stage,), callers=callers), each_us=each_us)


def space(
    *options: tuple[Option, ...],
    cores: int = 2,
    fairness: Fairness = Fairness.SUM,
    weights: tuple[float, ...] | None = None,
    scenario: Scenario = Scenario.SINGLE_STREAM,
) -> JointSpace:
    best = tuple(min(o.each_us for o in own) for own in options)
    objective = Objective(
        fairness=fairness, weights=weights or (1.0,) * len(options), alone_us=best, alone_latency_us=best
    )
    return JointSpace(options=options, cores=tuple(range(cores)), scenario=scenario, objective=objective)


A = (option("cpu/f32/t2", 100.0), option("cpu/f32/t1", 160.0))
B = (option("cpu/f32/t2", 300.0), option("cpu/f32/t1", 480.0))


def lanes(candidate: Candidate) -> list[str]:
    return [str(stage.lane) for stage in candidate.stages]


def test_models_that_scale_badly_get_a_core_each() -> None:
    best = shortlist(space(A, B), most=1)[0][0]
    assert best.candidate.sharing in (Sharing.SPACE, Sharing.FREE)
    assert best.score == pytest.approx(2 / 1.6)
    pinned = next(p for p in shortlist(space(A, B), most=9)[0] if p.candidate.sharing is Sharing.SPACE)
    assert [lanes(member) for member in pinned.candidate.members] == [["cpu/f32/t1/c0"], ["cpu/f32/t1/c1"]]
    assert not pinned.candidate.turns


def test_one_request_of_each_in_turn_takes_the_sum_of_both() -> None:
    turns = next(p for p in shortlist(space(A[:1], B[:1]), most=9)[0] if p.candidate.sharing is Sharing.TURNS)
    assert turns.candidate.turns == ((0, 1),)
    assert turns.each_us == (400.0, 400.0)
    assert turns.score == pytest.approx(0.25 + 0.75)
    assert lanes(turns.candidate.members[0]) == ["cpu/f32/t2/nospin"]


def test_in_offline_turns_share_time_by_weight() -> None:
    offline = space(A[:1], B[:1], weights=(3.0, 1.0), scenario=Scenario.OFFLINE)
    turns = next(p for p in shortlist(offline, most=9)[0] if p.candidate.sharing is Sharing.TURNS)
    assert [member.callers for member in turns.candidate.members] == [2, 2]
    assert turns.each_us == pytest.approx((100 * 4 / 3, 300 * 4))


def test_weights_and_fairness_change_what_is_best() -> None:
    fast = (option("gpu:gpu", 10.0), option("cpu/f32/t1", 1000.0))
    slow = (option("gpu:gpu", 100.0), option("cpu/f32/t1", 150.0))
    summed = shortlist(space(fast, slow), most=1)[0][0]
    assert [lanes(m)[0] for m in summed.candidate.members] == ["gpu:gpu/f32", "cpu/f32/t1/c0"]
    heavy = space((option("cpu/f32/t2", 100.0),), (option("cpu/f32/t2", 100.0),), fairness=Fairness.MINMAX)
    for proposal in shortlist(heavy, most=9)[0]:
        assert proposal.score == pytest.approx(0.5)


def test_nobody_gets_cores_that_are_not_there_and_no_device_has_two_owners() -> None:
    three = space(A, B, (option("cpu/f32/t2", 50.0), option("gpu:gpu", 20.0)), cores=3)
    for proposal in shortlist(three, most=500)[0]:
        candidate = proposal.candidate
        if candidate.sharing is not Sharing.SPACE:
            continue
        used = [frozenset(stage.lane.concurrency.cores for stage in m.stages) for m in candidate.members]
        grouped = {at: group for group in candidate.turns for at in group}
        pairs = [(one, other) for one in range(3) for other in range(one) if other not in grouped.get(one, ())]
        for one, other in pairs:
            cores = [set().union(*used[at]) for at in (one, other)]
            assert not cores[0] & cores[1]
    both = space((option("gpu:gpu", 10.0),), (option("gpu:gpu", 10.0),))
    assert all(p.candidate.sharing is not Sharing.SPACE for p in shortlist(both, most=9)[0])


def test_callers_on_pinned_cores_become_streams() -> None:
    offline = space(
        (option("cpu/f32/t1", 50.0, callers=2),), (option("cpu/f32/t1", 90.0),), cores=3, scenario=Scenario.OFFLINE
    )
    pinned = next(p for p in shortlist(offline, most=9)[0] if p.candidate.sharing is Sharing.SPACE)
    assert lanes(pinned.candidate.members[0]) == ["cpu/f32/t1/s2/c0+1"]
    assert lanes(pinned.candidate.members[1]) == ["cpu/f32/t1/c2"]


def slowed(victim: int, _: Option, beside: int, __: Option) -> float | None:
    """Model 0 suffers beside model 1 and not the other way round; model 2 disturbs all by a tenth."""
    return {(0, 1): 1.5, (1, 0): 1.0, (0, 2): 1.1, (1, 2): 1.1}.get((victim, beside))


def test_slowdowns_that_are_known_count_for_models_with_their_own_cores() -> None:
    known = replace(space(A[1:], B[1:]), slowdowns=slowed)
    found = shortlist(known, most=9)[0]
    pinned = next(p for p in found if p.candidate.sharing is Sharing.SPACE)
    assert pinned.each_us == pytest.approx((240.0, 480.0))
    assert pinned.slowing is Slowing.CO_RUNS
    turns = next(p for p in found if p.candidate.sharing is Sharing.TURNS)
    assert turns.each_us == (640.0, 640.0)
    assert turns.slowing is Slowing.NOTHING
    plain = shortlist(space(A[1:], B[1:]), most=9)[0]
    assert {p.slowing for p in plain if p.candidate.sharing is not Sharing.TURNS} == {Slowing.CORES}


def test_where_cores_are_shared_the_greater_of_both_slowdowns_counts() -> None:
    crowded = replace(space(A[:1], B[:1]), slowdowns=slowed).free([A[0], B[0]])
    assert crowded.each_us == (200.0, 600.0)  # two cores for four threads
    apart = replace(space(A[1:], B[1:]), slowdowns=slowed).free([A[1], B[1]])
    assert apart.each_us == (240.0, 480.0)


def test_slowdowns_of_several_neighbours_multiply_and_those_in_turns_count_by_time() -> None:
    three = (option("cpu/f32/t1", 100.0), option("cpu/f32/t1", 300.0), option("cpu/f32/t1", 100.0))
    whole = replace(space(*((own,) for own in three), cores=3), slowdowns=slowed)
    apart = whole.arranged(((0,), (1,), (2,)), three)
    assert apart is not None
    assert apart.each_us == pytest.approx((165.0, 330.0, 100.0))
    turns = whole.arranged(((0,), (1, 2)), three)
    assert turns is not None
    assert turns.each_us[0] == pytest.approx(100.0 * (0.75 * 1.5 + 0.25 * 1.1))


def test_what_nobody_measured_together_does_not_disturb() -> None:
    unknown = replace(space(A[1:], B[1:]), slowdowns=lambda *_: None)
    pinned = next(p for p in shortlist(unknown, most=9)[0] if p.candidate.sharing is Sharing.SPACE)
    assert pinned.each_us == (160.0, 480.0)
    assert pinned.slowing is Slowing.CORES


def test_a_study_finds_what_enumerating_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = space(A, B, cores=4)
    wanted = shortlist(whole, most=1)[0][0].score
    monkeypatch.setattr(joint_search, "MOST_ENUMERATED", 0)
    monkeypatch.setattr(joint_search, "TRIALS", 60)
    found, compared = shortlist(whole, most=1, seed=1)
    assert found[0].score == pytest.approx(wanted)
    assert compared <= 60


def test_partitions_are_all_of_them() -> None:
    assert [len(list(partitions(count))) for count in (1, 2, 3, 4)] == [1, 2, 5, 15]


def test_quiet_changes_only_threads_that_would_spin() -> None:
    assert lanes(quiet(option("cpu/f32/t2", 1.0).candidate)) == ["cpu/f32/t2/nospin"]
    assert lanes(quiet(option("cpu/f32/t1", 1.0).candidate)) == ["cpu/f32/t1"]
    assert lanes(quiet(option("openvino:cpu/f32/t2", 1.0).candidate)) == ["openvino:cpu/f32/t2"]


@pytest.mark.parametrize(
    ("joint", "winner"),
    [((1.30, 1.31, 1.29, 1.30), "joint:a"), ((1.02, 0.97, 1.03, 0.98), "side"), ((0.9, 0.9, 0.9, 0.91), "side")],
)
def test_a_joint_plan_wins_only_if_it_is_surely_better(joint: tuple[float, ...], winner: str) -> None:
    scores = {"side": (1.0, 1.0, 1.01, 1.0), "default": (0.5, 0.5, 0.52, 0.5), "joint:a": joint}
    decision = decide_joint(scores, reference="side")
    assert decision.winner == winner
    assert decision.challenger == "joint:a"
    assert decision.over["default"].ratio == pytest.approx(2.0 if winner == "side" else 2.58, rel=0.03)


def test_of_several_the_choice_does_not_report_itself() -> None:
    scores = {"side": (1.0,) * 6, "joint:a": (1.6, 1.2, 1.6, 1.2, 1.6, 1.2), "joint:b": (1.3,) * 6}
    decision = decide_joint(scores, reference="side")
    assert decision.challenger == "joint:a"
    assert decision.gain is not None
    assert decision.gain.ratio == pytest.approx((1.2 * 1.3) ** 0.5)  # the odd launches choose b


def test_a_joint_plan_that_failed_once_cannot_win() -> None:
    decision = decide_joint({"side": (1.0, 1.0), "joint:a": (9.0, None)}, reference="side")
    assert (decision.winner, decision.gain) == ("side", None)
    assert math.isclose(decision.over["side"].ratio, 1.0)
