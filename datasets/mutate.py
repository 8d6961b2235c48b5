"""One kernel changed in its sizes, with output shapes inferred by ONNX and FLOPs recomputed."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from autotune.core import Kernel, KernelNode, TensorSpec
from autotune.datasets.infer import inferred_outputs

FOLLOWERS = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Exp", "Erf", "Abs", "Neg", "Max", "Min", "Relu", "LeakyRelu", "PRelu",
    "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Tanh", "Gelu", "Elu", "Softplus", "Mish", "Identity",
    "BatchNormalization",
})  # fmt: skip
"""Operators that keep their input's shape and hold no sizes in attributes."""

WINDOWS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
SAME_SHAPE = FOLLOWERS | WINDOWS | {"Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "LRN"}

Shape = tuple[int, ...]


def mutate(kernel: Kernel, rng: random.Random) -> Kernel | None:
    """A kernel of other sizes, or None where this one can't be mutated safely or the draw was not valid."""
    tensors = (*kernel.inputs, *kernel.weights, *kernel.outputs)
    if not kernel.buildable or not all(tensor.is_static for tensor in tensors):
        return None
    if any(len(constant.values) > 1 for constant in kernel.constants):  # a shape, axes, pads: sizes in disguise
        return None
    first = kernel.nodes[0]
    if first.op_type == "Conv" and _rest_follows(kernel):
        return _convolution(kernel, first, rng)
    if first.op_type in ("MatMul", "Gemm") and _rest_follows(kernel):
        return _product(kernel, first, rng)
    if all(node.op_type in SAME_SHAPE for node in kernel.nodes):
        return _pointwise(kernel, rng)
    return None


def _rest_follows(kernel: Kernel) -> bool:
    return all(node.op_type in FOLLOWERS for node in kernel.nodes[1:])


def _specs(kernel: Kernel) -> dict[str, Shape]:
    return {t.name: t.shape for t in (*kernel.inputs, *kernel.weights, *kernel.outputs) if t.shape is not None}


def _channels(old: int, rng: random.Random, *, step: int = 1) -> int:
    """Around the old number; mostly multiples of 8 or 16, as in real networks, but not only."""
    if old <= 4:
        return old
    wanted = old * 2 ** rng.uniform(-1.5, 1.0)
    step = math.lcm(step, rng.choice((1, 4, 8, 8, 16, 16)))
    return max(step, round(wanted / step) * step)


def _size(old: int, rng: random.Random) -> int:
    return old if old <= 1 else max(2, round(old * 2 ** rng.uniform(-1.2, 0.8)))


def _convolution(kernel: Kernel, conv: KernelNode, rng: random.Random) -> Kernel | None:
    known = _specs(kernel)
    if conv.inputs[0] not in known or conv.inputs[1] not in known:
        return None
    x, w = known[conv.inputs[0]], known[conv.inputs[1]]
    attributes = dict(conv.attributes)
    groups = attributes.get("group", 1)
    if not isinstance(groups, int) or len(x) != 4 or len(w) != 4:
        return None
    old_out = _conv_output(kernel, conv)
    if old_out is None:
        return None
    if groups == x[1]:  # depthwise: as many groups as channels, the multiplier kept
        c_in = _channels(x[1], rng)
        c_out, new_groups = c_in * (w[0] // groups), c_in
    else:
        c_in, c_out = _channels(x[1], rng, step=groups), _channels(w[0], rng, step=groups)
        new_groups = groups
    ratio = x[2] / x[3]
    width = _size(x[3], rng)
    new_x = (x[0], c_in, max(1, round(width * ratio)), width)
    changed = attributes | ({"group": new_groups} if "group" in attributes else {})
    window = max(w[2:])
    if rng.random() < 0.15 and attributes.get("strides") in ((1, 1), (2, 2)) and window > 1:
        changed["strides"] = (2, 2) if attributes["strides"] == (1, 1) else (1, 1)
    node = replace(conv, attributes=tuple(sorted(changed.items())))
    draft: dict[str, Shape] = {conv.inputs[0]: new_x, conv.inputs[1]: (c_out, c_in // new_groups, *w[2:])}
    alone = replace(kernel, nodes=(node,), outputs=(TensorSpec(name=conv.outputs[0], dtype="float32", shape=None),))
    if len(conv.inputs) > 2 and conv.inputs[2]:
        draft[conv.inputs[2]] = (c_out,)
    new_out = inferred_outputs(alone, draft)
    if new_out is None:
        return None
    shapes = _aligned(kernel, old_out, new_out[0], draft)
    return None if shapes is None else _finished(kernel, (node, *kernel.nodes[1:]), shapes, old_out, new_out[0])


def _conv_output(kernel: Kernel, node: KernelNode) -> Shape | None:
    known = _specs(kernel)
    alone = replace(kernel, nodes=(node,), outputs=(TensorSpec(name=node.outputs[0], dtype="float32", shape=None),))
    found = inferred_outputs(alone, known)
    return None if found is None else found[0]


def _product(kernel: Kernel, node: KernelNode, rng: random.Random) -> Kernel | None:
    known = _specs(kernel)
    if node.inputs[0] not in known or node.inputs[1] not in known:
        return None
    a, b = known[node.inputs[0]], known[node.inputs[1]]
    old_out = _conv_output(kernel, node)
    attributes = dict(node.attributes)
    if len(a) < 2 or len(b) < 2 or old_out is None:
        return None
    k_a, k_b = (-2 if attributes.get("transA") else -1), (-1 if attributes.get("transB") else -2)
    inner, columns = _channels(a[k_a], rng), _channels(b[-3 - k_b], rng)
    rows = _size(a[-3 - k_a], rng)
    draft = {
        node.inputs[0]: _put(_put(a, k_a, inner), -3 - k_a, rows),
        node.inputs[1]: _put(_put(b, k_b, inner), -3 - k_b, columns),
    }
    new_out = (*old_out[:-2], rows, columns)
    shapes = _aligned(kernel, old_out, new_out, draft)
    return None if shapes is None else _finished(kernel, kernel.nodes, shapes, old_out, new_out)


def _put(shape: Shape, axis: int, value: int) -> Shape:
    changed = list(shape)
    changed[axis] = value
    return tuple(changed)


def _pointwise(kernel: Kernel, rng: random.Random) -> Kernel | None:
    known = _specs(kernel)
    old = max(
        (known[tensor.name] for tensor in kernel.inputs), key=lambda shape: (len(shape), math.prod(shape)), default=()
    )
    if len(old) < 2:
        return None
    if len(old) == 4:
        width = _size(old[3], rng)
        new: Shape = (old[0], _channels(old[1], rng), max(1, round(width * old[2] / old[3])), width)
    else:
        new = (*old[:1], *(_size(dim, rng) for dim in old[1:-1]), _channels(old[-1], rng))
    shapes = _aligned(kernel, old, new, {})
    if shapes is None:
        return None
    return _finished(kernel, kernel.nodes, shapes, old, new)


def _aligned(kernel: Kernel, old: Shape, new: Shape, fixed: dict[str, Shape]) -> dict[str, Shape] | None:
    """New shapes of all inputs and weights: those given, and those that broadcast against `old`, now against `new`."""
    channel_wise = {
        name for node in kernel.nodes for name in node.inputs[1:]
        if node.op_type in ("BatchNormalization", "InstanceNormalization", "PRelu")
    }  # fmt: skip
    shapes = dict(fixed)
    for tensor in (*kernel.inputs, *kernel.weights):
        shape = tensor.shape or ()
        if tensor.name in shapes:
            continue
        if tensor.name in channel_wise and len(shape) == 1 and len(old) > 1 and shape[0] == old[1]:
            shapes[tensor.name] = (new[1],)
            continue
        tail_old, tail_new = old[len(old) - len(shape) :], new[len(new) - len(shape) :]
        if len(shape) > len(old) or any(dim not in (1, was) for dim, was in zip(shape, tail_old, strict=True)):
            return None
        shapes[tensor.name] = tuple(1 if dim == 1 else now for dim, now in zip(shape, tail_new, strict=True))
    return shapes


def _finished(
    kernel: Kernel, nodes: tuple[KernelNode, ...], shapes: dict[str, Shape], old: Shape, new: Shape
) -> Kernel | None:
    """The kernel with its new shapes, outputs inferred, FLOPs counted as in the parent.

    Products count by their formula, all else in proportion to the elements.
    """
    draft = replace(
        kernel,
        nodes=nodes,
        inputs=tuple(replace(tensor, shape=shapes[tensor.name]) for tensor in kernel.inputs),
        weights=tuple(replace(tensor, shape=shapes[tensor.name]) for tensor in kernel.weights),
    )
    outputs = inferred_outputs(draft, shapes)
    if outputs is None:
        return None
    before, after = _products(kernel, old), _products(draft, new)
    rest = max(kernel.flops - before, 0)
    flops = after + round(rest * math.prod(new) / max(math.prod(old), 1))
    return replace(
        draft,
        outputs=tuple(replace(tensor, shape=shape) for tensor, shape in zip(kernel.outputs, outputs, strict=True)),
        flops=flops if kernel.flops else 0,
    )


def _products(kernel: Kernel, out: Shape) -> int:
    """FLOPs of the multiply-accumulates of the first node, whose output has the shape `out`."""
    first, known = kernel.nodes[0], _specs(kernel)
    if first.op_type == "Conv":
        return 2 * math.prod(out) * math.prod(known[first.inputs[1]][1:])
    if first.op_type in ("MatMul", "Gemm"):
        inner = known[first.inputs[0]][-2 if dict(first.attributes).get("transA") else -1]
        return 2 * math.prod(out) * inner
    return 0
