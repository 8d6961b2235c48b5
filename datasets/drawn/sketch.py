"""What drawn graphs are made of: nodes with known shapes; weights have a shape but no values, so that they are free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import onnx
from onnx import TensorProto, helper

OPSET, IR_VERSION = 17, 9
Shape = tuple[int, ...]


class Sketch:
    """Collects the nodes of one graph; every method that adds one gives its output's name.

    The graph's own name is `source`, what it was drawn from.

    Convolutions come with a bias, as the optimizer leaves them once it has folded a batch normalisation into them.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self.source = "drawn"
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: dict[str, int] = {}
        self._weights: list[onnx.TensorProto] = []

    def input(self, *shape: int, dtype: int = TensorProto.FLOAT) -> str:
        """What comes from outside."""
        name = f"x{len(self._inputs)}"
        self._inputs[name], self.shapes[name] = dtype, shape
        return name

    def weight(self, *shape: int) -> str:
        """A float32 initializer without values."""
        name = f"w{len(self._weights)}"
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        self._weights.append(tensor)
        self.shapes[name] = shape
        return name

    def integers(self, *values: int) -> str:
        """A shape, axes or sizes."""
        return self._known(TensorProto.INT64, [len(values)], values)

    def number(self, value: float) -> str:
        """One float."""
        return self._known(TensorProto.FLOAT, [], [value])

    def index(self, at: int) -> str:
        """One position."""
        return self._known(TensorProto.INT64, [], [at])

    def _known(self, kind: int, dims: Sequence[int], values: Sequence[float]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(helper.make_tensor(name, kind, dims, values))
        self.shapes[name] = tuple(dims)
        return name

    def op(self, kind: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        """Any operator with one output, whose shape the caller knows."""
        return self.ops(kind, inputs, (shape,), **attributes)[0]

    def ops(self, kind: str, inputs: Sequence[str], shapes: Sequence[Shape], **attributes: Any) -> list[str]:
        """Any operator with several outputs."""
        names = [f"t{len(self._nodes)}_{at}" for at in range(len(shapes))]
        node = helper.make_node(kind, list(inputs), names, name=f"n{len(self._nodes)}", **attributes)
        node.attribute.extend(one for one in _defaults(kind) if one.name not in attributes)
        self._nodes.append(node)
        self.shapes |= dict(zip(names, shapes, strict=True))
        return names

    def same(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operator whose output has the broadcast shape of its inputs."""
        shapes = [self.shapes[name] for name in inputs]
        rank = max(map(len, shapes))
        padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
        return self.op(kind, inputs, tuple(map(max, zip(*padded, strict=True))), **attributes)

    def conv(
        self, x: str, outer: int, kernel: int | Shape = 3, *, stride: int = 1, groups: int = 1, dilation: int = 1
    ) -> str:
        """A convolution over one or two dimensions, padded so that the size stays at stride 1."""
        batch, inner, *sizes = self.shapes[x]
        window = (kernel,) * len(sizes) if isinstance(kernel, int) else kernel
        pads = [dilation * (size // 2) for size in window]
        new = [
            (size + 2 * pad - dilation * (wide - 1) - 1) // stride + 1
            for size, pad, wide in zip(sizes, pads, window, strict=True)
        ]
        return self.op(
            "Conv",
            (x, self.weight(outer, inner // groups, *window), self.weight(outer)),
            (batch, outer, *new),
            dilations=[dilation] * len(window),
            group=groups,
            kernel_shape=list(window),
            pads=pads * 2,
            strides=[stride] * len(window),
        )

    def deconv(self, x: str, outer: int, kernel: int) -> str:
        """A transposed convolution that doubles the size."""
        batch, inner, high, wide = self.shapes[x]
        pad = (kernel - 2) // 2
        return self.op(
            "ConvTranspose",
            (x, self.weight(inner, outer, kernel, kernel), self.weight(outer)),
            (batch, outer, 2 * high, 2 * wide),
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[2, 2],
        )

    def pool(self, kind: str, x: str, kernel: int, stride: int) -> str:
        """Maximum or average over a window, padded by half of it where it is odd."""
        batch, channels, *sizes = self.shapes[x]
        pad = kernel // 2 if kernel % 2 else 0
        new = [(size + 2 * pad - kernel) // stride + 1 for size in sizes]
        window, pads = [kernel] * len(sizes), [pad] * (2 * len(sizes))
        strides = [stride] * len(sizes)
        return self.op(kind, (x,), (batch, channels, *new), kernel_shape=window, pads=pads, strides=strides)

    def gemm(self, x: str, outer: int) -> str:
        """A fully connected layer on [rows, inner]."""
        rows, inner = self.shapes[x]
        return self.op("Gemm", (x, self.weight(outer, inner), self.weight(outer)), (rows, outer), transB=1)

    def matmul(self, x: str, y: str) -> str:
        """A product of two activations, or of one and a weight."""
        return self.op("MatMul", (x, y), (*self.shapes[x][:-1], self.shapes[y][-1]))

    def dense(self, x: str, outer: int, *, bias: bool = True, flat: bool = False) -> str:
        """A linear layer on [..., inner]; flat: over rows, as the optimizer rewrites some of them."""
        if flat:
            shape = self.shapes[x]
            rows = self.reshape(x, math.prod(shape[:-1]), shape[-1])
            made = self.op(
                "Gemm", (rows, self.weight(shape[-1], outer), self.weight(outer)), (math.prod(shape[:-1]), outer)
            )
            return self.reshape(made, *shape[:-1], outer)
        made = self.matmul(x, self.weight(self.shapes[x][-1], outer))
        return self.same("Add", made, self.weight(outer)) if bias else made

    def layer_norm(self, x: str) -> str:
        """Layer normalisation over the last dimension."""
        width = self.shapes[x][-1]
        return self.same("LayerNormalization", x, self.weight(width), self.weight(width), axis=-1, epsilon=1e-5)

    def reshape(self, x: str, *shape: int) -> str:
        """The same elements in another shape."""
        return self.op("Reshape", (x, self.integers(*shape)), shape)

    def transpose(self, x: str, *order: int) -> str:
        """Dimensions in another order."""
        return self.op("Transpose", (x,), tuple(self.shapes[x][at] for at in order), perm=list(order))

    def concat(self, names: Sequence[str], axis: int = 1) -> str:
        """Side by side along a dimension."""
        first = self.shapes[names[0]]
        total = sum(self.shapes[name][axis] for name in names)
        return self.op("Concat", names, (*first[:axis], total, *first[axis + 1 :]), axis=axis)

    def split(self, x: str, sizes: Sequence[int], axis: int = 1) -> list[str]:
        """Parts along a dimension."""
        old = self.shapes[x]
        shapes = [(*old[:axis], size, *old[axis + 1 :]) for size in sizes]
        return self.ops("Split", (x, self.integers(*sizes)), shapes, axis=axis)

    def model(self) -> onnx.ModelProto:
        """The graph with inferred shapes; its outputs are the tensors that nobody uses.

        Raises:
            ValueError: ONNX infers other shapes than those that were drawn.
        """
        used = {name for node in self._nodes for name in node.input}
        ends = [name for node in self._nodes for name in node.output if name not in used]
        graph = helper.make_graph(
            self._nodes,
            self.source,
            [helper.make_tensor_value_info(name, kind, self.shapes[name]) for name, kind in self._inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in ends],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        for value in (*model.graph.value_info, *model.graph.output):
            found = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            if found != self.shapes[value.name]:
                raise ValueError(f"{value.name} has the shape {found}, drawn as {self.shapes[value.name]}")
        return model


@cache
def _defaults(kind: str) -> tuple[onnx.AttributeProto, ...]:
    """Attributes that have a default, with it: ONNX Runtime writes them into what it has optimised."""
    known = onnx.defs.get_schema(kind, OPSET).attributes.values()
    return tuple(one.default_value for one in known if one.default_value.name)
