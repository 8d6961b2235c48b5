"""A kernel where its ends cost nothing: its inputs are made from single pixels inside the model, its outputs averaged.

What a compiling provider does at the ends of a model depends on where the ends are: alone, a convolution's output is
brought back to the file's layout, which can take many times longer than the convolution (`benchmarks/ends.py`). Inside
a model nobody pays that. A small convolution (of what are no images: a small product) is the very last, since OpenVINO
computes what follows a model's last convolution or product in float32, whatever it was asked for.

Images without weights (a pooling, a Concat) are in a convolution's layout only behind one: `behind_convolutions` makes
their inputs by one each, and `only_convolutions` is the same without the kernel. So is what a convolution adds to its
result: `made_by_convolutions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from autotune.core import Kernel, KernelNode, TensorSpec
from autotune.errors import ModelError
from autotune.graph.fusion import RESHAPING

LEAST_OPSET = 11
"""Before, Resize rounds in other ways."""
CHANNELS = 16
"""What goes into a convolution before and comes out of one behind: the least that is one block of their layout."""
APART = 16
"""Pixels from one window to the next of what is kept of an image."""
_SMALL, _MADE_OF, _MEAN = "small_", "made_of_", "mean_"


def has_small_ends(kernel: Kernel) -> bool:
    """Whether all that comes in and goes out are float32 images of known size."""
    tensors = (*kernel.inputs, *kernel.outputs)
    images = _sized(tensors) and all(len(_shape(tensor)) == 4 for tensor in tensors)
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
        node, image, weight = _made(spec)
        nodes.append(node)
        images.append(image)
        weights.append(weight)
    return replace(
        kernel,
        nodes=tuple(nodes),
        inputs=tuple(images),
        weights=tuple(weights),
        constants=(),
        outputs=kernel.inputs,
        flops=0,
    )


def with_few_pixels(convolutions: Kernel, *, whole: bool) -> Kernel:
    """What `only_convolutions` gives, with a few pixels of each image going out, so that it is made anyway.

    Args:
        convolutions: without a kernel behind them.
        whole: whether the images go out, too.
    """
    few = [_few_pixels(spec) for spec in convolutions.outputs]
    return replace(
        convolutions,
        nodes=(*convolutions.nodes, *(node for node, _ in few)),
        outputs=(*(pixels for _, pixels in few), *(convolutions.outputs if whole else ())),
    )


def made_by_convolutions(model: onnx.ModelProto, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Has a convolution make every input but the first, for all copies; gives what the model takes then.

    Args:
        model: of a kernel, which is changed.
        inputs: what it takes, float32 images.
    """
    taken = [*inputs[:1]]
    for spec in inputs[1:]:
        node, image, weight = _made(spec)
        values = np.full(_shape(weight), 1 / CHANNELS, dtype=np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, weight.name))
        model.graph.node.insert(0, helper.make_node(node.op_type, list(node.inputs), list(node.outputs)))
        taken.append(image)
    _take(model.graph, taken)
    return tuple(taken)


def made_of_pixels(model: onnx.ModelProto, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Has every input made of a single pixel; gives what the model takes then.

    Args:
        model: of a kernel, which is changed.
        inputs: what it takes, float32 images.
    """
    taken = [replace(spec, name=_SMALL + spec.name, shape=(*_shape(spec)[:2], 1, 1)) for spec in inputs]
    for spec, small in zip(inputs, taken, strict=True):
        scales = numpy_helper.from_array(np.array((1, 1, *_shape(spec)[2:]), dtype=np.float32), f"scales_{spec.name}")
        region = numpy_helper.from_array(np.zeros(0, dtype=np.float32), f"region_{spec.name}")
        model.graph.initializer.extend([region, scales])
        ends = [small.name, region.name, scales.name]
        model.graph.node.insert(0, helper.make_node("Resize", ends, [spec.name], mode="nearest"))
    _take(model.graph, taken)
    return tuple(taken)


def with_means(model: onnx.ModelProto, kernel: Kernel) -> onnx.ModelProto:
    """The model of a kernel with its outputs averaged, and a convolution of each average, at its end.

    `model` itself is changed.

    Raises:
        ModelError: the kernel cannot have small ends.
    """
    if not has_small_ends(kernel):
        raise _unfit(kernel)
    for name, (batch, channels, *_) in _taken_outputs(model):
        mean = helper.make_node("GlobalAveragePool", [name], [_MEAN + name])
        weight = np.full((CHANNELS, channels, 1, 1), 1 / channels, dtype=np.float32)
        _end(model.graph, mean, "Conv", weight, shape=(batch, CHANNELS, 1, 1))
    return model


def has_row_ends(kernel: Kernel) -> bool:
    """Whether all that goes out can be averaged as a whole, and would be made for that: not only moved."""
    moved = all(node.op_type in RESHAPING for node in kernel.nodes)
    return kernel.buildable and not moved and _sized(kernel.outputs)


def with_row_ends(model: onnx.ModelProto, kernel: Kernel) -> onnx.ModelProto:
    """The model of a kernel with the average of each output, and a product of that, at its end; `model` is changed.

    Raises:
        ModelError: the kernel cannot have such ends.
    """
    if not has_row_ends(kernel):
        raise ModelError(f"the kernel {kernel.ops} gives other things than rows of float32")
    for name, shape in _taken_outputs(model):
        mean = helper.make_node("ReduceMean", [name], [_MEAN + name], keepdims=1)
        weight = np.ones((1, CHANNELS), dtype=np.float32)
        _end(model.graph, mean, "MatMul", weight, shape=(*(1 for _ in shape[1:]), CHANNELS))
    return model


def _made(spec: TensorSpec) -> tuple[KernelNode, TensorSpec, TensorSpec]:
    """A 1×1 convolution that makes an image, the image of `CHANNELS` that it takes, and its weights."""
    batch, channels, *size = _shape(spec)
    image = replace(spec, name=_MADE_OF + spec.name, shape=(batch, CHANNELS, *size))
    weight = replace(spec, name=f"before_{spec.name}", shape=(channels, CHANNELS, 1, 1))
    return KernelNode(op_type="Conv", inputs=(image.name, weight.name), outputs=(spec.name,)), image, weight


def _few_pixels(spec: TensorSpec) -> tuple[KernelNode, TensorSpec]:
    """A pooling that takes one window of each `APART` × `APART` pixels of an image, and what it gives.

    Windows of one pixel would not do: OpenVINO has the convolution before skip all others then.
    """
    batch, channels, *size = _shape(spec)
    window = tuple(min(2, side) for side in size)
    few = tuple((side - wide) // APART + 1 for side, wide in zip(size, window, strict=True))
    pixels = replace(spec, name=f"kept_{spec.name}", shape=(batch, channels, *few))
    attributes = (("kernel_shape", window), ("strides", (APART, APART)))
    return KernelNode(op_type="AveragePool", inputs=(spec.name,), outputs=(pixels.name,), attributes=attributes), pixels


def _take(graph: onnx.GraphProto, inputs: Sequence[TensorSpec]) -> None:
    """Makes these float32 images what the model takes."""
    del graph.input[:]
    graph.input.extend(
        helper.make_tensor_value_info(spec.name, onnx.TensorProto.FLOAT, _shape(spec)) for spec in inputs
    )


def _taken_outputs(model: onnx.ModelProto) -> list[tuple[str, list[int]]]:
    """Name and shape of each output; the model has none then."""
    outputs = [
        (value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]) for value in model.graph.output
    ]
    del model.graph.output[:]
    return outputs


def _end(
    graph: onnx.GraphProto, mean: onnx.NodeProto, op_type: str, weight: npt.NDArray[np.float32], *, shape: Sequence[int]
) -> None:
    """The average of an output, and an operator with weights on that, whose result leaves the model."""
    (name,), (averaged,) = mean.input, mean.output
    graph.initializer.append(numpy_helper.from_array(weight, f"after_{name}"))
    graph.node.extend([mean, helper.make_node(op_type, [averaged, f"after_{name}"], [_SMALL + name])])
    graph.output.append(helper.make_tensor_value_info(_SMALL + name, onnx.TensorProto.FLOAT, shape))


def _sized(tensors: Sequence[TensorSpec]) -> bool:
    """Whether all are float32 of known size and more than one dimension."""
    return all(spec.dtype == "float32" and len(_shape(spec)) > 1 and min(_shape(spec)) > 0 for spec in tensors)


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return spec.shape or ()


def _unfit(kernel: Kernel) -> ModelError:
    return ModelError(f"the kernel {kernel.ops} takes or gives other things than float32 images")
