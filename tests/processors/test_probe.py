"""Precisions count by their effect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from autotune.core import DEFAULT_LANE, Precision, Processor
from autotune.processors import create_session, probe
from autotune.processors.probe import precisions_of, relative_rms, works
from autotune.processors.probe_model import INPUT, OUTPUT, SHAPE, probe_input, probe_model

Make = Callable[..., Processor]
EXACT = np.random.default_rng(2).standard_normal((64, 64)).astype(np.float32)
AS_BF16 = (EXACT.view(np.uint32) & 0xFFFF0000).view(np.float32)
AS_F16 = EXACT.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize(
    ("precision", "output", "real"),
    [
        (Precision.F32, EXACT, True),
        (Precision.F32, AS_BF16, False),
        (Precision.BF16, AS_BF16, True),
        (Precision.BF16, EXACT, False),  # accepted, but ignored
        (Precision.F16, AS_F16, True),
        (Precision.F16, EXACT, False),
        (Precision.F32, np.full_like(EXACT, np.nan), False),
        (Precision.F32, EXACT[:1], False),
    ],
)
def test_a_precision_is_known_by_its_rounding(precision: Precision, output: np.ndarray, real: bool) -> None:
    assert works(precision, output, EXACT, []) is real


def test_another_precisions_numbers_under_a_new_name_do_not_count() -> None:
    assert not works(Precision.F16, AS_BF16, EXACT, [EXACT, AS_BF16])


def test_the_probe_is_a_valid_model_that_keeps_its_scale() -> None:
    model = onnx.load_model_from_string(probe_model())
    onnx.checker.check_model(model, full_check=True)
    session = create_session(probe_model(), DEFAULT_LANE)
    output = session.run([OUTPUT], {INPUT: probe_input()})[0]
    assert output.shape == SHAPE
    assert 0.1 < float(np.std(output)) < 10


class FakeSession:
    """Gives the reference, rounded as told."""

    def __init__(self, rounding: Callable[[np.ndarray], np.ndarray]) -> None:
        self.rounding = rounding

    def run(self, _names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [self.rounding(ort.InferenceSession(probe_model()).run(None, feeds)[0])]


def to_f16(output: np.ndarray) -> np.ndarray:
    return output.astype(np.float16).astype(np.float32)


def reference() -> np.ndarray:
    return np.asarray(ort.InferenceSession(probe_model()).run(None, {INPUT: probe_input()})[0])


def test_a_provider_without_a_setting_is_named_after_what_it_does(
    monkeypatch: pytest.MonkeyPatch, processor: Make
) -> None:
    monkeypatch.setattr(probe, "create_session", lambda *_: FakeSession(to_f16))
    assert precisions_of(processor("CoreMLExecutionProvider", device="npu"), reference())[0] == ["f16"]
    monkeypatch.setattr(probe, "create_session", lambda *_: FakeSession(lambda output: output))
    assert precisions_of(processor("CoreMLExecutionProvider", device="npu"), reference())[0] == ["f32"]


def test_wrong_outputs_are_no_precision_and_say_how_wrong(monkeypatch: pytest.MonkeyPatch, processor: Make) -> None:
    monkeypatch.setattr(probe, "create_session", lambda *_: FakeSession(lambda output: output * 2))
    found, why = precisions_of(processor("CUDAExecutionProvider", device="gpu"), reference())
    assert found == []
    assert why == "asked for f32, gives outputs with a relative error of 1"


def test_relative_rms_of_equal_outputs_is_zero() -> None:
    assert relative_rms(EXACT, EXACT) == 0.0
