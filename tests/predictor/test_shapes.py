"""Dimensions of kernels whose main operator is not a plain convolution of images."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.core import AttributeValue, Kernel, KernelNode, TensorSpec
from autotune.predictor.shapes import ACTIVATIONS, MAIN_OPS, main_operator

Shape = tuple[int, ...]


def kernel_of(*ops: str, x: Shape, y: Shape | None, w: Shape | None = None, **attributes: AttributeValue) -> Kernel:
    """The first operator has the input, the weight and the attributes; each of the others takes what comes before."""
    inside = [*(f"t{i}" for i in range(len(ops) - 1)), "o0"]
    first = KernelNode(
        op_type=ops[0],
        inputs=("i0", "w0") if w is not None else ("i0",),
        outputs=(inside[0],),
        attributes=tuple(sorted(attributes.items())),
    )
    others = [
        KernelNode(op_type=op, inputs=(before,), outputs=(after,))
        for op, before, after in zip(ops[1:], inside, inside[1:], strict=False)
    ]
    return Kernel(
        family="other",
        nodes=(first, *others),
        inputs=(TensorSpec(name="i0", dtype="float32", shape=x),),
        weights=(TensorSpec(name="w0", dtype="float32", shape=w),) if w is not None else (),
        outputs=(TensorSpec(name="o0", dtype="float32", shape=y),),
        opset=17,
        flops=0,
    )


@pytest.mark.parametrize(
    ("ops", "attributes", "kind"),
    [
        (("Conv",), {}, "none"),
        (("Conv", "BatchNormalization"), {}, "none"),
        (("Conv", "Sigmoid", "Mul"), {}, "silu"),
        (("Conv", "Sigmoid"), {}, "sigmoid"),
        (("FusedConv",), {"activation": "Relu"}, "relu"),
        (("FusedConv", "Add"), {"activation": "HardSigmoid"}, "hard"),
        (("Conv", "Softsign"), {}, "other"),
    ],
)
def test_what_follows_the_main_operator(ops: tuple[str, ...], attributes: dict[str, str], kind: str) -> None:
    found = main_operator(kernel_of(*ops, x=(1, 8, 4, 4), w=(16, 8, 1, 1), y=(1, 16, 4, 4), **attributes))
    assert ACTIVATIONS[found.activation] == kind
    assert MAIN_OPS[found.code] == ops[0]


def test_a_transposed_convolution_counts_its_outputs_per_group() -> None:
    kernel = kernel_of(
        "ConvTranspose", x=(1, 8, 4, 4), w=(8, 6, 2, 3), y=(1, 12, 8, 8), group=2, strides=(2, 1), dilations=(1, 3)
    )
    dims = main_operator(kernel).dims
    assert (dims.c_in, dims.c_out, dims.groups, dims.kernel_h, dims.kernel_w) == (8, 12, 2, 2, 3)
    assert (dims.stride, dims.dilation, dims.h_out) == (2, 3, 8)


def test_a_convolution_over_volumes_joins_the_inner_dimensions() -> None:
    dims = main_operator(kernel_of("Conv", x=(2, 8, 5, 6, 7), w=(16, 8, 3, 2, 2), y=(2, 16, 3, 5, 6))).dims
    assert (dims.n, dims.h_in, dims.w_in, dims.h_out, dims.w_out) == (2, 5, 42, 3, 30)
    assert (dims.kernel_h, dims.kernel_w, dims.stride, dims.groups) == (3, 4, 1, 1)


def test_a_product_of_a_transposed_left_side_has_its_rows_inside() -> None:
    dims = main_operator(kernel_of("Gemm", x=(64, 10), w=(64, 32), y=(10, 32), transA=1)).dims
    assert (dims.c_in, dims.h_out, dims.c_out) == (64, 10, 32)


def test_pools_have_the_window_of_their_attribute_and_unknown_sizes_are_0() -> None:
    dims = main_operator(kernel_of("MaxPool", x=(-1, 8, 9), y=None, kernel_shape=(3,), strides=(2,))).dims
    assert (dims.n, dims.c_in, dims.h_in, dims.w_in) == (0, 8, 9, 1)
    assert (dims.kernel_h, dims.kernel_w, dims.stride, dims.c_out) == (3, 3, 2, 1)


@pytest.mark.parametrize(
    ("op", "x", "y", "attributes", "run"),
    [
        ("Transpose", (1, 8, 4, 6), (1, 4, 6, 8), {"perm": (0, 2, 3, 1)}, 1),  # NCHW to NHWC
        ("Transpose", (1, 8, 4, 6), (1, 4, 8, 6), {"perm": (0, 2, 1, 3)}, 6),  # heads of an attention
        ("Transpose", (8, 4), (4, 8), {}, 1),
        ("Transpose", (1, 8, 4, 6), (1, 8, 4, 6), {"perm": (0, 1, 2, 3)}, 192),
        ("Concat", (1, 8, 4, 6), (1, 24, 4, 6), {"axis": 1}, 192),
        ("Concat", (1, 8, 4, 6), (1, 8, 4, 12), {"axis": 3}, 6),
        ("Split", (1, 8, 4, 6), (1, 2, 4, 6), {"axis": 1}, 48),
        ("Gather", (30522, 256), (1, 128, 256), {"axis": 0}, 256),
        ("Gather", (4, 256), (4,), {"axis": -1}, 1),
        ("Pad", (1, 8, 4, 6), (1, 8, 6, 8), {}, 6),
        ("Slice", (1, -1, 4, 6), (1, 2, 4, 6), {}, 0),
        ("Relu", (1, 8, 4, 6), (1, 8, 4, 6), {}, 0),
        ("Conv", (1, 8, 4, 6), (1, 8, 4, 6), {}, 0),
    ],
)
def test_how_much_stays_side_by_side(op: str, x: Shape, y: Shape, attributes: dict[str, Any], run: int) -> None:
    assert main_operator(kernel_of(op, x=x, y=y, **attributes)).run == run


@pytest.mark.parametrize(
    ("op", "x", "attributes", "rows"),
    [
        ("Softmax", (1, 4, 128, 64), {}, 4 * 128),
        ("Softmax", (1, 16, 4, 8400), {"axis": 1}, 4 * 8400),
        ("Softmax", (2, 1000), {"axis": -1}, 2),
        ("LayerNormalization", (2, 50, 768), {"axis": -1}, 100),
        ("LayerNormalization", (2, 50, 768), {"axis": 1}, 2),
        ("InstanceNormalization", (2, 32, 64, 64), {}, 0),
        ("Relu", (2, 32, 64, 64), {}, 0),
    ],
)
def test_how_many_rows_are_normalised(op: str, x: Shape, attributes: dict[str, Any], rows: int) -> None:
    assert main_operator(kernel_of(op, x=x, y=x, **attributes)).rows == rows
