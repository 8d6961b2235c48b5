"""Which operators a provider takes is asked, not assumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from autotune.core import DEFAULT_LANE, Lane, Processor
from autotune.errors import SessionError
from autotune.processors import ProviderShare, assignment, supports


@pytest.fixture
def with_det() -> bytes:
    """Relu, then Det, which OpenVINO's provider leaves to others."""
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Det", ["y"], ["z"])]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 8]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, []),
    ]
    graph = helper.make_graph(nodes, "det", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def test_the_cpu_takes_all_operators(model: bytes, model_file: Path) -> None:
    (share,) = assignment(model, DEFAULT_LANE)
    assert share.provider == "CPUExecutionProvider"
    assert share.operators >= 6  # convolutions, and what was not fused with them
    assert assignment(model_file, DEFAULT_LANE) == (share,)
    assert supports(model, DEFAULT_LANE)


def test_a_model_that_cannot_run_is_not_supported() -> None:
    with pytest.raises(SessionError):
        assignment(b"no model", DEFAULT_LANE)
    assert not supports(b"no model", DEFAULT_LANE)


@pytest.mark.openvino
def test_openvino_takes_what_it_knows(model: bytes, openvino: Processor) -> None:
    lane = Lane(processor=openvino.name)
    assert assignment(model, lane) == (ProviderShare(provider=openvino.provider, operators=12),)
    assert supports(model, lane)


@pytest.mark.openvino
def test_operators_left_to_the_cpu_are_counted(with_det: bytes, openvino: Processor) -> None:
    shares = {share.provider: share.operators for share in assignment(with_det, Lane(processor=openvino.name))}
    assert shares["CPUExecutionProvider"] >= 1
    assert not supports(with_det, Lane(processor=openvino.name))
