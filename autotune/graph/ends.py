"""A kernel where its ends cost nothing: its inputs are made from single pixels inside the model, its outputs averaged.

What a compiling provider does at the ends of a model depends on where the ends are: alone, a convolution's output is
brought back to the file's layout, which can take many times longer than the convolution (`benchmarks/ends.py`). Inside
a model nobody pays that. A small convolution is the very last, since OpenVINO computes what follows a model's last
convolution or product in float32, whatever it was asked for.

Images without weights (a pooling, a Concat) are in a convolution's layout only behind one: `behind_convolutions` makes
their inputs by one each, and `only_convolutions` is the same without the kernel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autotune.core import Kernel, KernelNode, TensorSpec
from autotune.errors import ModelError

LEAST_OPSET = 11
"""Before, Resize rounds in other ways."""
CHANNELS = 16
"""What goes into a convolution before and comes out of one behind: the least that is one block of their layout."""
_BEFORE, _MADE_OF, _AFTER = "small_", "made_of_", "mean_"


def has_small_ends(kernel: Kernel) -> bool:
    """Whether all that comes in and goes out are float32 images of known size."""
    tensors = (*kernel.inputs, *kernel.outputs)
    images = all(
        tensor.dtype == "float32" and tensor.shape is not None and len(tensor.shape) == 4 and min(tensor.shape) > 0
        for tensor in tensors
    )
    return kernel.buildable and kernel.opset >= LEAST_OPSET and bool(kernel.inputs) and images


def behind_convolutions(kernel: Kernel) -> Kernel:
    """The kernel with a 1×1 convolution before each input, from images of `CHANNELS`.

    Raises:
        ModelError: it cannot have small ends.
    """
    before = only_convolutions(kernel)
    return replace(
        kernel,
        nodes=(*before.nodes, *kernel.nodes),
        inputs=before.inputs,
        weights=(*before.weights, *kernel.weights),
    )


def only_convolutions(kernel: Kernel) -> Kernel:
    """What `behind_convolutions` puts before a kernel, without the kernel.

    Raises:
        ModelError: it cannot have small ends.
    """
    if not has_small_ends(kernel):
        raise _unfit(kernel)
    nodes: list[KernelNode] = []
    images: list[TensorSpec] = []
    weights: list[TensorSpec] = []
    for spec in kernel.inputs:
        batch, channels, *size = _shape(spec)
        image, weight = _MADE_OF + spec.name, f"before_{spec.name}"
        nodes.append(KernelNode(op_type="Conv", inputs=(image, weight), outputs=(spec.name,)))
        images.append(replace(spec, name=image, shape=(batch, CHANNELS, *size)))
        weights.append(replace(spec, name=weight, shape=(channels, CHANNELS, 1, 1)))
    return replace(
        kernel,
        nodes=tuple(nodes),
        inputs=tuple(images),
        weights=tuple(weights),
        constants=(),
        outputs=kernel.inputs,
        flops=0,
    )


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
    """The model of a kernel with its outputs averaged, and a convolution of each average, at its end.

    `model` itself is changed.

    Raises:
        ModelError: the kernel cannot have small ends.
    """
    if not has_small_ends(kernel):
        raise _unfit(kernel)
    graph = model.graph
    large = [(value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]) for value in graph.output]
    del graph.output[:]
    for name, (batch, channels, *_) in large:
        mean, weight, small = _AFTER + name, f"after_{name}", _BEFORE + name
        share = np.full((CHANNELS, channels, 1, 1), 1 / channels, dtype=np.float32)
        graph.initializer.append(numpy_helper.from_array(share, weight))
        graph.node.append(helper.make_node("GlobalAveragePool", [name], [mean]))
        graph.node.append(helper.make_node("Conv", [mean, weight], [small]))
        graph.output.append(helper.make_tensor_value_info(small, onnx.TensorProto.FLOAT, (batch, CHANNELS, 1, 1)))
    return model


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return spec.shape or ()


def _unfit(kernel: Kernel) -> ModelError:
    return ModelError(f"the kernel {kernel.ops} takes or gives other things than float32 images")
