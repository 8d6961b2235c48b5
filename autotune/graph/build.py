"""A kernel alone as a model, to be measured."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autotune.core import Kernel, TensorSpec
from autotune.errors import ModelError
from autotune.graph.normal import normal
from autotune.graph.values import DTYPES

_ELEMENT_TYPES: dict[str, int] = {}
for _code, _name in DTYPES.items():
    _ELEMENT_TYPES.setdefault(_name, _code)
IR_VERSION = 9


def chainable(kernel: Kernel) -> bool:
    """Whether output 0 can be fed to input 0 again."""
    if not (kernel.buildable and kernel.inputs and len(kernel.outputs) == 1):
        return False
    first, last = kernel.inputs[0], kernel.outputs[0]
    return first.shape == last.shape and first.dtype == last.dtype


def can_fan(kernel: Kernel) -> bool:
    """Whether copies side by side stay apart: without weights of their own, a runtime would join them."""
    return kernel.buildable and any("float" in weight.dtype and weight.bytes > 0 for weight in kernel.weights)


def build_kernel(kernel: Kernel, *, seed: int = 0, copies: int = 1, fan: bool = False) -> onnx.ModelProto:
    """The kernel as a model with random weights inside; inputs `i0`, …, outputs `o0`, ….

    Args:
        kernel: what to build.
        seed: of the weights, scaled after He (He et al., Delving Deep into Rectifiers, 2015).
        copies: how many times it runs, each with weights of its own: in a row, output 0 into input 0, unless …
        fan: … side by side, all with the same inputs, each with outputs of its own (`o0_0`, `o0_1`, …).

    Raises:
        ModelError: it cannot be built alone, not chained, or has no weights that keep copies apart.
    """
    if not kernel.buildable:
        raise ModelError(f"the kernel {kernel.ops} cannot be built alone: unknown shapes or sub-graphs")
    if fan and not can_fan(kernel):
        raise ModelError(f"copies of the kernel {kernel.ops} side by side would be joined: it has no weights")
    if copies > 1 and not fan and not chainable(kernel):
        raise ModelError(f"the kernel {kernel.ops} cannot be chained: its output does not fit its input")
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    for copy in range(copies):
        names = _names(kernel, copy, 1 if fan else copies)
        names |= {spec.name: f"{spec.name}_{copy}" for spec in kernel.outputs} if fan else {}
        nodes += [
            helper.make_node(
                node.op_type,
                [names.get(name, f"{name}_{copy}" if name else "") for name in node.inputs],
                [names.get(name, f"{name}_{copy}" if name else "") for name in node.outputs],
                domain=node.domain,
                **{name: list(value) if isinstance(value, tuple) else value for name, value in node.attributes},
            )
            for node in kernel.nodes
        ]
        initializers += [_weight(spec, rng, f"{spec.name}_{copy}") for spec in kernel.weights]
        initializers += [_constant(c.tensor, c.values, f"{c.tensor.name}_{copy}") for c in kernel.constants]
    graph = helper.make_graph(
        nodes,
        "kernel",
        [_value(spec) for spec in kernel.inputs],
        [_value(replace(spec, name=name)) for spec in kernel.outputs for name in _ends(spec.name, copies, fan=fan)],
        initializers,
    )
    domains = dict.fromkeys(node.domain for node in kernel.nodes if node.domain not in ("", "ai.onnx"))
    opsets = [helper.make_opsetid("", kernel.opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _ends(name: str, copies: int, *, fan: bool) -> list[str]:
    return [f"{name}_{copy}" for copy in range(copies)] if fan else [name]


def _names(kernel: Kernel, copy: int, copies: int) -> dict[str, str]:
    """Names that are not local to a copy: shared inputs, the ends of the chain, the links between copies."""
    names = {spec.name: spec.name for spec in kernel.inputs}
    names |= {spec.name: spec.name for spec in kernel.outputs} if copies == 1 else {}
    if copies > 1:
        first, last = kernel.inputs[0].name, kernel.outputs[0].name
        names[first] = first if copy == 0 else f"link_{copy - 1}"
        names[last] = last if copy == copies - 1 else f"link_{copy}"
    return names


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, _ELEMENT_TYPES[spec.dtype], spec.shape)


def _weight(spec: TensorSpec, rng: np.random.Generator, name: str) -> onnx.TensorProto:
    shape = spec.shape or ()
    if "float" not in spec.dtype:
        return helper.make_tensor(name, _ELEMENT_TYPES[spec.dtype], shape, [1] * math.prod(shape))
    fan_in = math.prod(shape[1:]) if len(shape) > 2 else (shape[0] if len(shape) == 2 else 1)
    if len(shape) < 2:  # scales, biases, variances: positive and near one, so that nothing degenerates
        drawn: np.ndarray[Any, Any] = 1.0 + 0.1 * rng.random(shape, dtype=np.float32)
    else:
        drawn = normal(shape, rng) * np.float32(math.sqrt(2 / max(fan_in, 1)))
    if spec.dtype == "bfloat16":
        import ml_dtypes

        return numpy_helper.from_array(drawn.astype(ml_dtypes.bfloat16), name)
    return numpy_helper.from_array(np.asarray(drawn, dtype=spec.dtype), name)


def _constant(spec: TensorSpec, values: tuple[int, ...] | tuple[float, ...], name: str) -> onnx.TensorProto:
    return helper.make_tensor(name, _ELEMENT_TYPES[spec.dtype], spec.shape or (), list(values))
