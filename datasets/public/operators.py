"""Kernels from what a table says of an operator: its type, shapes and window; ONNX itself infers the output.

The kernel is the one that the same ONNX node would become in a model of its own (`graph.make_kernel`), so that family,
FLOPs and features are those of this project's kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from autotune.core import AttributeValue, Kernel, TensorSpec

OPSET = 17
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """An operator as a table describes it.

    Args:
        op_type: ONNX's name.
        inputs: shapes of its activations.
        weights: shapes of its weights, behind the activations.
        attributes: as ONNX has them.
        output: shape that the table gives; None where it gives none.
        dtype: of all tensors.
    """

    op_type: str
    inputs: tuple[Shape, ...]
    weights: tuple[Shape, ...] = ()
    attributes: tuple[tuple[str, AttributeValue], ...] = ()
    output: Shape | None = None
    dtype: str = "float32"


@lru_cache(maxsize=65536)
def built(operator: Described) -> Kernel:
    """The kernel of an operator.

    Raises:
        ValueError: the shapes do not fit together, or ONNX infers another output than the table gives.
    """
    import onnx

    from autotune.graph.kernels import GraphView, make_kernel

    _check_window(operator)
    activations = {f"x{at}": shape for at, shape in enumerate(operator.inputs)}
    weights = {f"w{at}": shape for at, shape in enumerate(operator.weights)}
    node = onnx.helper.make_node(operator.op_type, [*activations, *weights], ["y"], **dict(operator.attributes))
    output = _inferred(node, activations | weights, operator.dtype)
    if operator.output is not None and math.prod(output) != math.prod(operator.output):
        raise ValueError(f"by its columns the output is {output}, the table has {operator.output}")
    specs = {
        name: TensorSpec(name=name, dtype=operator.dtype, shape=shape)
        for name, shape in (activations | weights | {"y": output}).items()
    }
    outside = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)  # weights without values
    view = GraphView(
        specs=specs,
        initializers=dict.fromkeys(weights, outside),
        outputs=frozenset(["y"]),
        consumers={},
        opset=OPSET,
        foreign=frozenset(),
    )
    return make_kernel([0], [node], view)


def _check_window(operator: Described) -> None:
    """What ONNX's inference lets pass: channels that do not fit, and a padding that only the sizes ask for."""
    attributes = dict(operator.attributes)
    window, pads = attributes.get("kernel_shape"), attributes.get("pads")
    if isinstance(window, tuple) and isinstance(pads, tuple):
        reach = (max(map(int, window)) - 1) * max(_ints(attributes.get("dilations"))) + 1
        if max(map(int, pads)) >= reach:
            raise ValueError(f"its sizes need a padding of {pads}, as wide as the window")
    if operator.op_type == "Conv":
        channels, wanted = operator.inputs[0][1], operator.weights[0][1] * int(str(attributes["group"]))
        if channels != wanted:
            raise ValueError(f"its shapes do not fit together: {channels} channels, weights for {wanted}")


def _ints(value: object) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (1,)


def _inferred(node: object, shapes: dict[str, Shape], dtype: str) -> Shape:
    import onnx

    element = int(onnx.helper.np_dtype_to_tensor_dtype(_numpy(dtype)))
    types = {name: onnx.helper.make_tensor_type_proto(element, shape) for name, shape in shapes.items()}
    schema = onnx.defs.get_schema(node.op_type, OPSET)  # type: ignore[attr-defined]
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    try:
        found = onnx.shape_inference.infer_node_outputs(schema, node, types, opset_imports=opsets)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ValueError(f"its shapes do not fit together ({str(error).splitlines()[0]:.120})") from error
    shape = tuple(int(dim.dim_value) for dim in found["y"].tensor_type.shape.dim)
    if any(dim < 1 for dim in shape):
        raise ValueError(f"by its columns the output is {shape}")
    return shape


def same_pads(size: int, out: int, *, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Padding at both ends that gives an output of this size, the smaller half first (SAME_UPPER)."""
    total = max((out - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def convolution(
    x: Shape,
    w: Shape,
    *,
    stride: int,
    pads: tuple[int, int, int, int],
    groups: int = 1,
    dilation: int = 1,
    bias: bool = True,
    output: Shape | None = None,
    dtype: str = "float32",
) -> Described:
    """A convolution: input NCHW, weights OIHW (input channels per group), pads top, left, bottom, right."""
    attributes: dict[str, AttributeValue] = {
        "auto_pad": "NOTSET", "group": groups, "kernel_shape": w[2:], "pads": pads, "strides": (stride, stride),
    }  # fmt: skip
    if dilation != 1:
        attributes["dilations"] = (dilation, dilation)
    return Described(
        op_type="Conv",
        inputs=(x,),
        weights=(w, w[:1]) if bias else (w,),
        attributes=tuple(sorted(attributes.items())),
        output=output,
        dtype=dtype,
    )


def dense(rows: int, inner: int, columns: int, *, bias: bool = True, dtype: str = "float32") -> Described:
    """A fully connected layer, weights by row."""
    attributes = (("alpha", 1.0), ("beta", 1.0), ("transA", 0), ("transB", 1))
    weights: tuple[Shape, ...] = ((columns, inner), (columns,)) if bias else ((columns, inner),)
    return Described(
        op_type="Gemm",
        inputs=((rows, inner),),
        weights=weights,
        attributes=attributes,
        output=(rows, columns),
        dtype=dtype,
    )


def pooling(op_type: str, x: Shape, *, window: int, stride: int, pads: tuple[int, int], output: Shape) -> Described:
    """MaxPool or AveragePool with a square window."""
    attributes: dict[str, AttributeValue] = {
        "auto_pad": "NOTSET", "ceil_mode": 0, "kernel_shape": (window, window),
        "pads": (pads[0], pads[0], pads[1], pads[1]), "strides": (stride, stride),
    }  # fmt: skip
    return Described(op_type=op_type, inputs=(x,), attributes=tuple(sorted(attributes.items())), output=output)


def simple(op_type: str, *inputs: Shape, output: Shape | None = None, **attributes: AttributeValue) -> Described:
    """An operator without weights."""
    return Described(op_type=op_type, inputs=inputs, attributes=tuple(sorted(attributes.items())), output=output)


def normalisation(x: Shape) -> Described:
    """Scale and shift per channel."""
    return Described(
        op_type="BatchNormalization", inputs=(x,), weights=((x[1],),) * 4, attributes=(("epsilon", 1e-5),), output=x
    )


def _numpy(dtype: str) -> object:
    import numpy as np

    return np.dtype(dtype)
