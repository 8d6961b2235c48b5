"""Keeps activations healthy through a deep network without normalisation layers.

Layer-sequential unit-variance initialisation (Mishkin and Matas, All You Need is a Good Init, 2015): each
convolution in turn
is scaled so that its output on a smooth random image has an RMS of one, bias included. Factors are rounded to an
eighth of an
octave, so
that machines that round differently give the same weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

STEPS_PER_OCTAVE = 8
LINEAR_RMS, BIAS_STD = 0.8, 0.6
"""What the weights and the biases contribute; the biases hold the level when images differ in contrast."""
Array = np.ndarray[Any, Any]


def smooth_image(size: int, *, seed: int) -> Array:
    """[1, 3, size, size] random image whose neighbouring pixels are alike, of unit variance."""
    coarse = np.random.default_rng(seed).standard_normal((1, 3, size // 8, size // 8)).astype(np.float32)
    return np.repeat(np.repeat(coarse, 8, axis=2), 8, axis=3)


def unit_factors(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[float]:
    """For each convolution with several output channels, in order: what its weights must be multiplied by."""
    values = dict(feeds) | {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    factors = []
    for node in model.graph.node:
        outputs = _run(node, values, model.opset_import[0].version)
        if scalable(node, values):
            bias = values[node.input[2]].reshape(1, -1, 1, 1)
            linear = outputs[0] - bias
            wanted = math.log2(LINEAR_RMS / float(np.sqrt(np.mean(linear**2))))
            factors.append(2.0 ** (round(wanted * STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE))
            outputs = [linear * np.float32(factors[-1]) + bias]
        values |= dict(zip(node.output, outputs, strict=True))
    return factors


def scalable(node: onnx.NodeProto, values: dict[str, Array]) -> bool:
    """Whether a node is a convolution whose weights are scaled."""
    return node.op_type == "Conv" and len(values[node.input[1]]) > 1


def scale_convolutions(model: onnx.ModelProto, factors: list[float]) -> None:
    """Multiplies the weights of the convolutions by their factors."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    values = {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    waiting = iter(factors)
    for node in model.graph.node:
        if scalable(node, values):
            name = node.input[1]
            scaled = values[name] * np.float32(next(waiting))
            tensors[name].CopyFrom(numpy_helper.from_array(scaled, name))


def _run(node: onnx.NodeProto, values: dict[str, Array], opset: int) -> list[Array]:
    """One node on its own."""
    feeds = {name: values[name] for name in dict.fromkeys(node.input) if name}
    ends = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    outs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "one", ends, outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))
