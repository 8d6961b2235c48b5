"""Kernels between small ends: the same work, with single pixels going in and out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

from autotune.core import Kernel, KernelNode, TensorSpec
from autotune.errors import ModelError
from autotune.graph import (
    behind_convolutions,
    build_kernel,
    can_fan,
    has_row_ends,
    has_small_ends,
    made_by_convolutions,
    made_of_pixels,
    only_convolutions,
    with_few_pixels,
    with_means,
    with_row_ends,
)
from autotune.graph.ends import CHANNELS
from autotune.profiler.probes import reference_kernel, reference_product

CONVOLUTION = reference_kernel(4, 8)
JOINED = Kernel(
    family="data_movement",
    nodes=(KernelNode(op_type="Concat", inputs=("i0", "i1"), outputs=("o0",), attributes=(("axis", 1),)),),
    inputs=(
        TensorSpec(name="i0", dtype="float32", shape=(1, 4, 8, 8)),
        TensorSpec(name="i1", dtype="float32", shape=(1, 6, 8, 8)),
    ),
    outputs=(TensorSpec(name="o0", dtype="float32", shape=(1, 10, 8, 8)),),
    opset=17,
    flops=0,
)


@pytest.mark.parametrize(("copies", "opset"), [(1, 17), (3, 17), (1, 11)])
def test_gives_the_mean_of_what_the_kernel_gives_for_an_even_image(copies: int, opset: int) -> None:
    kernel = replace(CONVOLUTION, opset=opset)
    plain = build_kernel(kernel, seed=1, copies=copies).SerializeToString()
    model = with_means(build_kernel(kernel, seed=1, copies=copies), kernel)
    (spec,) = made_of_pixels(model, kernel.inputs)
    small = model.SerializeToString()
    assert spec.shape == (1, 4, 1, 1)
    pixel = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    image = np.broadcast_to(pixel, (1, 4, 8, 8)).copy()
    (whole,) = ort.InferenceSession(plain).run(None, {"i0": image})
    (mean,) = ort.InferenceSession(small).run(None, {spec.name: pixel})
    assert mean.shape == (1, CHANNELS, 1, 1)  # which the last convolution averages over its channels
    np.testing.assert_allclose(mean, np.full_like(mean, whole.mean()), rtol=1e-4)


@pytest.mark.parametrize(
    "kernel",
    [
        reference_product(4, 8),
        replace(CONVOLUTION, opset=10),
        replace(CONVOLUTION, inputs=(replace(CONVOLUTION.inputs[0], dtype="float16"),)),
    ],
)
def test_rows_older_operators_and_other_types_have_none(kernel: object) -> None:
    assert has_small_ends(CONVOLUTION)
    assert not has_small_ends(kernel)  # type: ignore[arg-type]


def test_who_asks_for_them_anyway_is_told() -> None:
    rows = reference_product(4, 8)
    with pytest.raises(ModelError, match="MatMul"):
        with_means(build_kernel(rows), rows)


def test_copies_side_by_side_each_have_an_output_and_weights_of_their_own() -> None:
    model = with_means(build_kernel(CONVOLUTION, seed=1, copies=3, fan=True), CONVOLUTION)
    (spec,) = made_of_pixels(model, CONVOLUTION.inputs)
    session = ort.InferenceSession(model.SerializeToString())
    found = session.run(None, {spec.name: np.ones(spec.shape or (), dtype=np.float32)})
    assert len(found) == 3
    assert not np.allclose(found[0], found[1])


def test_what_has_no_weights_is_not_copied_side_by_side() -> None:
    pool = replace(CONVOLUTION, nodes=CONVOLUTION.nodes[1:], weights=(), family="elementwise")
    assert can_fan(CONVOLUTION)
    assert not can_fan(pool)
    with pytest.raises(ModelError, match="no weights"):
        build_kernel(pool, copies=2, fan=True)


@pytest.mark.parametrize(("made", "outputs"), [(behind_convolutions(JOINED), 1), (only_convolutions(JOINED), 2)])
def test_images_are_made_by_a_convolution_each_with_the_kernel_and_without(made: Kernel, outputs: int) -> None:
    assert can_fan(made)
    assert [node.op_type for node in made.nodes].count("Conv") == len(JOINED.inputs)
    model = with_means(build_kernel(made, seed=1, copies=2, fan=True), made)
    pixels = {s.name: np.ones(s.shape or (), dtype=np.float32) for s in made_of_pixels(model, made.inputs)}
    assert all(pixel.shape == (1, CHANNELS, 1, 1) for pixel in pixels.values())
    found = ort.InferenceSession(model.SerializeToString()).run(None, pixels)
    assert len(found) == 2 * outputs
    assert not np.allclose(found[0], found[outputs])  # copies have weights of their own


def test_the_copies_average_what_the_kernel_gives() -> None:
    kernel, without = behind_convolutions(JOINED), only_convolutions(JOINED)
    joined = with_means(build_kernel(kernel, seed=1), kernel)
    parts = with_means(build_kernel(without, seed=1), without)
    made_of_pixels(joined, kernel.inputs)
    pixels = {s.name: np.ones(s.shape or (), dtype=np.float32) for s in made_of_pixels(parts, without.inputs)}
    (whole,) = ort.InferenceSession(joined.SerializeToString()).run(None, pixels)
    first, second = ort.InferenceSession(parts.SerializeToString()).run(None, pixels)
    np.testing.assert_allclose(whole, (4 * first + 6 * second) / 10, rtol=1e-4)


@pytest.mark.parametrize(("whole", "outputs"), [(False, 2), (True, 4)])
def test_a_few_pixels_of_each_image_go_out_with_the_images_or_without(whole: bool, outputs: int) -> None:
    few = with_few_pixels(only_convolutions(JOINED), whole=whole)
    assert [spec.shape for spec in few.outputs[2:]] == [spec.shape for spec in JOINED.inputs][: outputs - 2]
    model = with_means(build_kernel(few, seed=1, copies=2, fan=True), few)
    pixels = {s.name: np.ones(s.shape or (), dtype=np.float32) for s in made_of_pixels(model, few.inputs)}
    found = ort.InferenceSession(model.SerializeToString()).run(None, pixels)
    assert len(found) == 2 * outputs


def test_rows_cannot_be_put_behind_convolutions() -> None:
    with pytest.raises(ModelError, match="MatMul"):
        behind_convolutions(reference_product(4, 8))


@pytest.mark.parametrize("copies", [1, 3])
def test_rows_are_averaged_as_a_whole(copies: int) -> None:
    product = reference_product(4, 8)
    plain = build_kernel(product, seed=1, copies=copies).SerializeToString()
    ended = with_row_ends(build_kernel(product, seed=1, copies=copies), product).SerializeToString()
    rows = {"i0": np.arange(32, dtype=np.float32).reshape(1, 4, 8)}
    (whole,) = ort.InferenceSession(plain).run(None, rows)
    (mean,) = ort.InferenceSession(ended).run(None, rows)
    np.testing.assert_allclose(mean, np.full((1, 1, CHANNELS), whole.mean()), rtol=1e-4)


@pytest.mark.parametrize(
    "kernel",
    [
        replace(JOINED, nodes=(replace(JOINED.nodes[0], op_type="Transpose"),)),  # a mean needs no transposing
        replace(JOINED, outputs=(replace(JOINED.outputs[0], dtype="int64"),)),
        replace(JOINED, outputs=(replace(JOINED.outputs[0], shape=(320,)),)),
    ],
)
def test_what_is_only_moved_and_what_is_no_rows_is_not_averaged(kernel: Kernel) -> None:
    assert has_row_ends(JOINED)
    assert not has_row_ends(kernel)
    with pytest.raises(ModelError, match=kernel.ops):
        with_row_ends(build_kernel(JOINED), kernel)


@pytest.mark.parametrize("pixels", [False, True])
def test_what_a_convolution_adds_is_made_by_another_one_for_all_copies(pixels: bool) -> None:
    conv, relu = CONVOLUTION.nodes
    added = KernelNode(op_type="Add", inputs=("t0", "i1"), outputs=("t1",))
    residual = replace(CONVOLUTION.inputs[0], name="i1")
    kernel = replace(
        CONVOLUTION,
        nodes=(conv, added, replace(relu, inputs=("t1",))),
        inputs=(*CONVOLUTION.inputs, residual),
    )
    model = with_means(build_kernel(kernel, seed=1, copies=2, fan=True), kernel)
    inputs = made_by_convolutions(model, kernel.inputs)
    assert [spec.shape for spec in inputs] == [(1, 4, 8, 8), (1, CHANNELS, 8, 8)]
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 2 + 2 + 1  # copies, their ends, what is added
    inputs = made_of_pixels(model, inputs) if pixels else inputs
    feeds = {spec.name: np.full(spec.shape or (), 1000.0, dtype=np.float32) for spec in inputs}
    found = ort.InferenceSession(model.SerializeToString()).run(None, feeds)
    without = {name: value * (0.0 if "i1" in name else 1.0) for name, value in feeds.items()}
    lower = ort.InferenceSession(model.SerializeToString()).run(None, without)
    assert len(found) == 2
    assert all((own > less).all() for own, less in zip(found, lower, strict=True))
