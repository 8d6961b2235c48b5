"""Output shapes of a kernel with given input shapes, asked from ONNX's own shape inference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autotune.core import Kernel, TensorSpec


def inferred_outputs(kernel: Kernel, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[int, ...]] | None:
    """Shapes of the kernel's outputs, None where ONNX can't tell them or finds the inputs inconsistent.

    Args:
        kernel: its nodes, constants and element types count; the shapes of its inputs and weights do not.
        shapes: of all inputs and weights that its nodes use.
    """
    import onnx
    from onnx import TensorProto, helper

    used = {name for node in kernel.nodes for name in node.inputs}
    tensors = [tensor for tensor in (*kernel.inputs, *kernel.weights) if tensor.name in used]
    try:
        inputs = [
            helper.make_tensor_value_info(tensor.name, _element(tensor), shapes[tensor.name]) for tensor in tensors
        ]
        constants = [
            helper.make_tensor(c.tensor.name, _element(c.tensor), c.tensor.shape or (), list(c.values))
            for c in kernel.constants
            if c.tensor.name in used
        ]
        nodes = [
            helper.make_node(n.op_type, list(n.inputs), list(n.outputs), domain=n.domain, **dict(n.attributes))
            for n in kernel.nodes
        ]
        outputs = [helper.make_tensor_value_info(t.name, TensorProto.UNDEFINED, None) for t in kernel.outputs]
        graph = helper.make_graph(nodes, "kernel", inputs, outputs, initializer=constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", kernel.opset)])
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, TypeError, ValueError, KeyError):
        return None
    found = []
    for value in model.graph.output:
        dims = value.type.tensor_type.shape.dim
        if not value.type.tensor_type.HasField("shape") or any(dim.dim_value < 1 for dim in dims):
            return None
        found.append(tuple(int(dim.dim_value) for dim in dims))
    return found


def _element(tensor: TensorSpec) -> int:
    import onnx

    if tensor.dtype == "bfloat16":
        return int(onnx.TensorProto.BFLOAT16)
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)))
