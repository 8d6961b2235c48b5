"""A device that is new, with no model in hand: what its predictor needs is asked for all the same."""

from __future__ import annotations

from types import ModuleType

from autotune.learning import Belief, Queue, believe
from autotune.predictor import MIN_RECORDS
from autotune.predictor.reference import reference_kernels


def test_reference_kernels_come_first_and_then_what_the_committee_disagrees_on(invented: ModuleType) -> None:
    kernels = invented.kernels(60)
    queue = Queue(kernels, [invented.ONE], settled=set(), uses=(), seconds=lambda _, us: us / 1e6)
    queue.rank(Belief(cores=4))
    lane, first = queue.take(1e9)
    assert {kernel.signature for kernel in first} == {
        kernel.signature for kernel in reference_kernels(list(kernels.values()), MIN_RECORDS)
    }
    records = [invented.record(kernel, lane) for kernel in first]
    queue.rank(believe(records, Belief(cores=4)))
    worths = [question.worth for question in queue.questions]
    assert worths == sorted(worths, reverse=True)
    assert len(queue) + queue.pruned == len(kernels) - len(first)
