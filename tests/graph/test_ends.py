"""Kernels between small ends: the same work, with single pixels going in and out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

from autotune.errors import ModelError
from autotune.graph import build_kernel, can_fan, has_small_ends, small_inputs, with_small_ends
from autotune.profiler.probes import reference_kernel, reference_product

CONVOLUTION = reference_kernel(4, 8)


@pytest.mark.parametrize(("copies", "opset"), [(1, 17), (3, 17), (1, 11)])
def test_gives_the_mean_of_what_the_kernel_gives_for_an_even_image(copies: int, opset: int) -> None:
    kernel = replace(CONVOLUTION, opset=opset)
    plain = build_kernel(kernel, seed=1, copies=copies).SerializeToString()
    small = with_small_ends(build_kernel(kernel, seed=1, copies=copies), kernel).SerializeToString()
    (spec,) = small_inputs(kernel)
    assert spec.shape == (1, 4, 1, 1)
    pixel = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    image = np.broadcast_to(pixel, (1, 4, 8, 8)).copy()
    (whole,) = ort.InferenceSession(plain).run(None, {"i0": image})
    (mean,) = ort.InferenceSession(small).run(None, {spec.name: pixel})
    np.testing.assert_allclose(mean, whole.mean(axis=(2, 3), keepdims=True), rtol=1e-4)


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
        with_small_ends(build_kernel(rows), rows)


def test_copies_side_by_side_each_have_an_output_and_weights_of_their_own() -> None:
    model = with_small_ends(build_kernel(CONVOLUTION, seed=1, copies=3, fan=True), CONVOLUTION)
    (spec,) = small_inputs(CONVOLUTION)
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
