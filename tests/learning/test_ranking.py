"""In which order a search measures what it does not know of a model."""

from __future__ import annotations

from types import ModuleType

from autotune.learning import ranked
from autotune.predictor import MIN_RECORDS
from autotune.predictor.reference import reference_kernels


def test_without_records_the_largest_come_first(invented: ModuleType) -> None:
    kernels = list(invented.kernels(12).values())
    found = ranked({invented.ONE: kernels}, {}, [], cores=4)
    assert found == {invented.ONE: sorted(kernels, key=lambda kernel: -kernel.flops)}


def test_what_is_disagreed_on_comes_before_what_is_known_well(invented: ModuleType) -> None:
    """Records of all but the widths at which latency jumps: those are measured first, nothing is dropped."""
    everything = list(invented.kernels(60).values())
    odd = [kernel for kernel in everything if (kernel.inputs[0].shape or (0, 0))[1] == 20]
    even = [kernel for kernel in everything if kernel not in odd]
    learnt = [invented.record(kernel, invented.ONE) for kernel in [*even[::2], *odd[::3]]]
    seen = {record.kernel for record in learnt}
    waiting = [kernel for kernel in everything if kernel not in seen]
    uses = {kernel.signature: 1 for kernel in waiting}
    found = ranked({invented.ONE: waiting, invented.ALL: waiting}, uses, learnt, cores=4)
    assert {kernel.signature for kernel in found[invented.ONE]} == {kernel.signature for kernel in waiting}
    half = found[invented.ONE][: len(waiting) // 2]
    assert sum(kernel in odd for kernel in half) > len([kernel for kernel in waiting if kernel in odd]) / 2
    assert found[invented.ALL] == sorted(waiting, key=lambda kernel: -kernel.flops)  # nothing is known of that lane


def test_a_new_model_on_a_known_lane_begins_with_what_its_time_is_spent_on(invented: ModuleType) -> None:
    everything = list(invented.kernels(60).values())
    learnt = [invented.record(kernel, invented.ONE) for kernel in everything[:30]]
    waiting = everything[30:]
    references = reference_kernels(waiting, MIN_RECORDS)
    (heavy, *_) = (kernel for kernel in waiting if kernel not in references)
    found = ranked({invented.ONE: waiting}, {heavy.signature: 1}, learnt, cores=4)
    assert found[invented.ONE][0] is heavy
