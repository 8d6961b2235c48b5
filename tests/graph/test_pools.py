"""Pools whose last window would start in the padding: ONNX Runtime leaves it out, shape inference counts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from autotune.graph import extract, load


def net(path: Path, operator: str, height: int, **window: Any) -> Path:
    pool = helper.make_node(operator, ["x"], ["y"], ceil_mode=1, **window)
    graph = helper.make_graph(
        [pool, helper.make_node("Softmax", ["y"], ["z"], axis=1)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, height, 7])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), str(path))
    return path


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("height", "window"),
    [
        (9, {"kernel_shape": [2, 2], "strides": [2, 1], "pads": [1, 0, 1, 0]}),
        (12, {"kernel_shape": [3, 2], "strides": [3, 1], "pads": [0, 0, 1, 0]}),
        (9, {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),  # one axis ends early, one reaches over
        (10, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 0, 0]}),  # nothing is left out
        (11, {"kernel_shape": [3, 2], "strides": [3, 1]}),
    ],
)
def test_shapes_and_outputs_are_those_of_onnx_runtime(
    tmp_path: Path, operator: str, height: int, window: dict[str, Any]
) -> None:
    path = net(tmp_path / "net.onnx", operator, height, **window)
    x = np.random.default_rng(1).standard_normal((1, 2, height, 7)).astype(np.float32)
    (wanted,) = ort.InferenceSession(path).run(None, {"x": x})
    graph = load(path, work=tmp_path / "work")
    found = ort.InferenceSession(graph.path).run(None, {"x": x})[0]
    np.testing.assert_array_equal(found, wanted)
    if operator == "MaxPool" or window.get("strides") != [2, 2]:  # averages that reach over the end stay as they are
        assert graph.outputs[0].shape == wanted.shape
        first, second = extract(graph, [(0, 1), (1, 2)], tmp_path / "stages")
        (middle,) = ort.InferenceSession(first.path).run(None, {"x": x})
        (last,) = ort.InferenceSession(second.path).run(None, {second.inputs[0].name: middle})
        np.testing.assert_allclose(last, wanted, rtol=0, atol=1e-6)
