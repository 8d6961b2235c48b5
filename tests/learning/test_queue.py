"""What is asked for first, and what is dropped."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from autotune.core import Kernel, Lane
from autotune.learning import Belief, Queue, believe
from autotune.predictor import MIN_RECORDS
from autotune.predictor.boosted import BoostedTrees
from autotune.predictor.reference import reference_kernels

FEW_TREES = BoostedTrees(rounds=8, rate=0.5)


def queue(invented: ModuleType, known: int, *, uses: dict[str, int] | None = None, second_s: float = 1.0) -> Queue:
    kernels = invented.kernels()
    return Queue(
        kernels,
        [invented.ONE],
        settled={(signature, invented.ONE) for signature in list(kernels)[:known]},
        uses=[uses if uses is not None else dict.fromkeys(kernels, 1)],
        seconds=lambda kernel, _: second_s,
    )


def belief(invented: ModuleType, known: int) -> Belief:
    kernels = list(invented.kernels().values())[:known]
    return believe([invented.record(k, invented.ONE) for k in kernels], Belief(cores=4), learner=FEW_TREES)


def test_a_lane_begins_with_reference_kernels(invented: ModuleType) -> None:
    waiting = queue(invented, 0)
    waiting.rank(Belief(cores=4))
    _, batch = waiting.take(MIN_RECORDS)
    wanted = reference_kernels(list(invented.kernels().values()), MIN_RECORDS)
    assert {kernel.signature for kernel in batch} == {kernel.signature for kernel in wanted}


def test_a_lane_known_from_other_models_begins_with_what_is_worth_most(invented: ModuleType) -> None:
    everything = invented.kernels()
    others, own = list(everything.values())[:30], dict(list(everything.items())[30:])
    references = {kernel.signature for kernel in reference_kernels(list(own.values()), MIN_RECORDS)}
    (heavy, *_) = (signature for signature in own if signature not in references)
    waiting = Queue(own, [invented.ONE], settled=set(), uses=[{heavy: 1}], seconds=lambda kernel, _: 1.0)
    learnt = believe([invented.record(k, invented.ONE) for k in others], Belief(cores=4), learner=FEW_TREES)
    waiting.rank(learnt)
    assert len(own) > MIN_RECORDS
    assert not any(question.reference for question in waiting.questions)
    _, batch = waiting.take(1.0)
    assert [kernel.signature for kernel in batch] == [heavy]


def test_reference_kernels_are_the_same_in_any_order_and_lists_are_nested(invented: ModuleType) -> None:
    candidates = list(invented.kernels().values())
    five, ten = reference_kernels(candidates, 5), reference_kernels(candidates[::-1], 10)
    assert ten[:5] == five
    assert len(set(ten)) == 10


def test_worth_falls_and_is_disagreement_times_share_per_second(invented: ModuleType) -> None:
    waiting = queue(invented, 30, second_s=2.0)
    waiting.rank(belief(invented, 30))
    worths = [question.worth for question in waiting.questions]
    assert worths == sorted(worths, reverse=True)
    first = waiting.questions[0]
    assert first.worth == pytest.approx(first.disagreement * first.matters / 2.0)


def test_kernels_of_the_model_in_hand_come_before_others(invented: ModuleType) -> None:
    late = list(invented.kernels())[-1]
    for used in (late, list(invented.kernels())[-2]):
        waiting = queue(invented, 30, uses={used: 5})
        waiting.rank(belief(invented, 30))
        assert waiting.questions[0].kernel.signature == used


def test_a_lane_far_from_the_best_matters_less(invented: ModuleType) -> None:
    kernels = invented.kernels()
    waiting = Queue(
        kernels,
        [invented.ONE, invented.ALL],
        settled={(s, lane) for s in list(kernels)[:30] for lane in (invented.ONE, invented.ALL)},
        uses=[dict.fromkeys(kernels, 1)],
        seconds=lambda kernel, _: 1.0,
    )
    slow = [invented.record(k, invented.ONE) for k in list(kernels.values())[:30]]
    fast = [invented.record(k, invented.ALL) for k in list(kernels.values())[:30]]
    waiting.rank(believe([*slow, *fast], Belief(cores=4), learner=FEW_TREES))

    def matters(lane: Lane) -> float:
        return float(np.sum([q.matters for q in waiting.questions if q.lane == lane]))

    assert matters(invented.ONE) < matters(invented.ALL)


def test_what_all_agree_on_is_dropped_and_counted(invented: ModuleType) -> None:
    waiting = queue(invented, 30)
    known = belief(invented, 30)
    own = known.lanes[invented.ONE]
    one_voice = type(own.committee)(members=own.committee.members[:1] * 4)
    agreed = type(own)(digest=0, committee=one_voice, records=own.records, noise=own.noise)
    waiting.rank(Belief(lanes={invented.ONE: agreed}, cores=4))
    assert len(waiting) == 0
    assert waiting.pruned == len(invented.kernels()) - 30
    with pytest.raises(ValueError, match="nothing waits"):
        waiting.take(1.0)


def test_few_records_agree_on_nothing(invented: ModuleType) -> None:
    waiting = queue(invented, 5)
    waiting.rank(belief(invented, 5))
    assert waiting.pruned == 0


def test_a_batch_is_of_one_lane_and_fits_its_seconds(invented: ModuleType) -> None:
    waiting = queue(invented, 30, second_s=2.0)
    waiting.rank(belief(invented, 30))
    best = waiting.questions[0].kernel
    _, batch = waiting.take(6.0)
    assert len(batch) == 3
    assert batch[0] is best
    rest = {question.kernel.signature for question in waiting.questions}
    assert not rest & {kernel.signature for kernel in batch}


def test_what_comes_back_without_a_record_is_asked_for_once_more(invented: ModuleType) -> None:
    waiting, known = queue(invented, 30), belief(invented, 30)

    def asked() -> list[Kernel]:
        waiting.rank(known)
        return [question.kernel for question in waiting.questions]

    waiting.rank(known)
    _, batch = waiting.take(1.0)
    assert batch[0] not in asked()
    waiting.back(batch, invented.ONE)
    assert batch[0] in asked()
    waiting.take(1.0)
    waiting.back(batch, invented.ONE)
    assert batch[0] not in asked()


def test_a_lane_keeps_its_committee_while_it_has_no_new_records(invented: ModuleType) -> None:
    kernels = list(invented.kernels().values())[:25]
    first = [invented.record(k, invented.ONE) for k in kernels]
    before = believe(first, Belief(cores=4), learner=FEW_TREES)
    more = [*first, *(invented.record(k, invented.ALL) for k in kernels)]
    after = believe(more, before, learner=FEW_TREES)
    assert after.lanes[invented.ONE] is before.lanes[invented.ONE]
    assert invented.ALL in after.lanes
