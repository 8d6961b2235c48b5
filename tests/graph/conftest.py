"""Small graphs to load and cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 4
SIZE = 6


class Net:
    """Collects nodes on [batch, 4, 6, 6] tensors; some nodes stay without a name."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        drawn = (self.rng.standard_normal(shape) * 0.3).astype(np.float32)
        self.weights.append(numpy_helper.from_array(drawn, name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        label = "" if len(self.nodes) % 3 == 0 else name
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=label, **attributes))
        return name

    def conv(self, x: str) -> str:
        return self.op("Conv", x, self.weight(CHANNELS, CHANNELS, 3, 3), pads=[1, 1, 1, 1])

    def save(self, path: Path, outputs: list[str], *, inputs: tuple[str, ...] = ("x",), batch: int | str = 1) -> Path:
        shape = [batch, CHANNELS, SIZE, SIZE]
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(path))
        return path


def session(path: Path, *, extended: bool = False) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if extended:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
