"""A plan says which of its operators do not run where its stages say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from autotune.api.taken import left_to_others
from autotune.core import Failure, FailureKind, Lane, StageChoice
from autotune.processors import ProviderShare

OWN = "OpenVINOExecutionProvider"
CPU = "CPUExecutionProvider"


def warnings(lane: str, answer: Any) -> list[str]:
    worker = SimpleNamespace(call=lambda *_, **__: answer)
    place = SimpleNamespace(processor=lambda _: SimpleNamespace(provider=OWN))
    stage = SimpleNamespace(choice=StageChoice(start=2, stop=7, lane=Lane.parse(lane)), path=Path("stage.onnx"))
    run: Any = SimpleNamespace(worker=worker, place=place)
    written: Any = [stage]
    return left_to_others(run, written)


def test_operators_that_the_provider_leaves_are_told() -> None:
    shares = (ProviderShare(provider=OWN, operators=5), ProviderShare(provider=CPU, operators=2))
    (text,) = warnings("openvino:cpu/f32/t2", shares)
    assert "of 7 operators in kernels 2–7, 2 on CPUExecutionProvider: openvino:cpu does not take them" in text


def test_a_provider_that_takes_nothing_is_told() -> None:
    (text,) = warnings("openvino:cpu/f32/t2", (ProviderShare(provider=CPU, operators=3),))
    assert "of 3 operators" in text


def test_nothing_is_said_where_all_are_taken_or_nobody_knows() -> None:
    assert warnings("openvino:cpu/f32/t2", (ProviderShare(provider=OWN, operators=5),)) == []
    assert warnings("openvino:cpu/f32/t2", Failure(kind=FailureKind.HANG, message="too slow")) == []
    assert warnings("cpu/f32/t2", (ProviderShare(provider=OWN, operators=5),)) == []
