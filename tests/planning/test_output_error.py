"""The error model: squares add, and what was measured of whole candidates corrects it."""

from __future__ import annotations

import pytest

from autotune.core import Candidate, Kernel, Lane, StageChoice
from autotune.planning import ErrorModel
from autotune.planning.output_error import UNUSABLE

LOW, LOW_ONE_THREAD = Lane.parse("openvino:cpu/bf16/t2"), Lane.parse("openvino:cpu/bf16/t1")
FULL = Lane.parse("openvino:cpu/f32/t2")


def model() -> ErrorModel:
    kernels = [Kernel(family="convolution", nodes=(), inputs=(), outputs=(), opset=21, flops=1) for _ in range(4)]
    errors = ErrorModel(kernels, ["y"])
    errors.measured(LOW, [(0, 2), (2, 4)], [{"y": 4.0e-6}, {"y": 2.0e-6}])
    return errors


def chain(*stages: tuple[int, int, Lane]) -> Candidate:
    return Candidate(stages=tuple(StageChoice(start=start, stop=stop, lane=lane) for start, stop, lane in stages))


def predicted(errors: ErrorModel, candidate: Candidate) -> float:
    tables = errors.tables([stage.lane for stage in candidate.stages])
    return float(sum(tables[s.lane][s.start : s.stop].sum() for s in candidate.stages if s.lane in tables))


def test_squares_of_segments_add() -> None:
    assert predicted(model(), chain((0, 4, LOW))) == pytest.approx(6e-6)
    assert predicted(model(), chain((0, 1, LOW), (1, 4, FULL))) == pytest.approx(2e-6)


def test_threads_do_not_change_errors() -> None:
    assert predicted(model(), chain((0, 4, LOW_ONE_THREAD))) == pytest.approx(6e-6)


def test_a_whole_model_that_is_too_far_off_stays_so_when_a_part_of_it_is_better_than_thought() -> None:
    errors, whole, part = model(), chain((0, 4, LOW)), chain((0, 2, LOW), (2, 4, FULL))
    errors.verified(whole, {"y": 10e-6})
    errors.verified(part, {"y": 1e-6})
    assert predicted(errors, part) == pytest.approx(1e-6, rel=0.05)
    assert predicted(errors, whole) == pytest.approx(10e-6, rel=0.05)


def test_what_a_lane_cannot_run_stays_out_of_reach() -> None:
    errors = model()
    errors.measured(LOW, [(0, 2), (2, 4)], [{"y": UNUSABLE}, {"y": 2e-6}])
    errors.verified(chain((0, 4, LOW)), {"y": 1e-6})
    assert predicted(errors, chain((0, 2, LOW), (2, 4, FULL))) == pytest.approx(UNUSABLE)


def test_outputs_that_do_not_differ_say_nothing() -> None:
    errors = model()
    errors.verified(chain((0, 4, LOW)), {"y": 0.0})
    assert predicted(errors, chain((0, 4, LOW))) == pytest.approx(6e-6)
