"""A kernel between small ends: its inputs are made from single pixels inside the model, its outputs averaged there.

What a compiling provider does at the ends of a model depends on where the ends are: alone, a convolution's output is
brought back to the file's layout, which can take many times longer than the convolution (`benchmarks/ends.py`). Inside
a model nobody pays that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autotune.core import Kernel, TensorSpec
from autotune.errors import ModelError

LEAST_OPSET = 11
"""Before, Resize rounds in other ways."""
_BEFORE, _AFTER = "small_", "mean_"


def has_small_ends(kernel: Kernel) -> bool:
    """Whether all that comes in and goes out are float32 images of known size."""
    tensors = (*kernel.inputs, *kernel.outputs)
    images = all(
        tensor.dtype == "float32" and tensor.shape is not None and len(tensor.shape) == 4 and min(tensor.shape) > 0
        for tensor in tensors
    )
    return kernel.buildable and kernel.opset >= LEAST_OPSET and bool(kernel.inputs) and images


def small_inputs(kernel: Kernel) -> tuple[TensorSpec, ...]:
    """What the model with small ends takes: a pixel of each input."""
    return tuple(replace(spec, name=_BEFORE + spec.name, shape=(*_shape(spec)[:2], 1, 1)) for spec in kernel.inputs)


def with_small_ends(model: onnx.ModelProto, kernel: Kernel) -> onnx.ModelProto:
    """The model of a kernel (`build_kernel`) between small ends; `model` itself is changed.

    Raises:
        ModelError: the kernel cannot have them.
    """
    graph = with_means(model, kernel).graph
    nodes = list(graph.node)
    del graph.node[:], graph.input[:]
    for spec, small in zip(kernel.inputs, small_inputs(kernel), strict=True):
        graph.input.append(helper.make_tensor_value_info(small.name, onnx.TensorProto.FLOAT, small.shape))
        scales = numpy_helper.from_array(np.array((1, 1, *_shape(spec)[2:]), dtype=np.float32), f"scales_{spec.name}")
        region = numpy_helper.from_array(np.zeros(0, dtype=np.float32), f"region_{spec.name}")
        graph.initializer.extend([region, scales])
        ends = [small.name, region.name, scales.name]
        graph.node.append(helper.make_node("Resize", ends, [spec.name], mode="nearest"))
    graph.node.extend(nodes)
    return model


def with_means(model: onnx.ModelProto, kernel: Kernel) -> onnx.ModelProto:
    """The model of a kernel with its outputs averaged at its end; `model` itself is changed.

    Raises:
        ModelError: the kernel cannot have small ends.
    """
    if not has_small_ends(kernel):
        raise ModelError(f"the kernel {kernel.ops} takes or gives other things than float32 images")
    graph = model.graph
    large = [(value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]) for value in graph.output]
    del graph.output[:]
    for name, shape in large:
        graph.node.append(helper.make_node("GlobalAveragePool", [name], [_AFTER + name]))
        mean = helper.make_tensor_value_info(_AFTER + name, onnx.TensorProto.FLOAT, (*shape[:2], 1, 1))
        graph.output.append(mean)
    return model


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return spec.shape or ()
