"""The visible feature table."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from autotune.core import FAMILIES, Kernel, KernelNode, Lane, TensorSpec
from autotune.predictor import FEATURES, features
from autotune.predictor.features import COLUMN, KERNEL_FEATURES, KernelRows, kernel_rows


def test_every_column_says_its_unit_and_reason_once() -> None:
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    assert all(feature.unit and feature.reason for feature in FEATURES)


def test_a_convolution_shows_its_dimensions_and_tile_remainders(invented: ModuleType) -> None:
    kernel = invented.convolution(24, 72, 20, window=3)
    row = features([kernel], Lane.parse("cpu/f32/t2"), invented.DEVICE).iloc[0]
    expected = {
        "c_in": 24, "c_out": 72, "h_in": 20, "w_out": 20, "kernel_h": 3, "groups": 1, "channels_per_group": 24,
        "reduction": 216, "c_in_mod_16": 8, "c_out_mod_64": 8, "pixels_mod_64": 400 % 64, "threads": 2,
        "family_convolution": 1, "family_matmul": 0, "precision_bits": 32,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["log_flops"] == pytest.approx(np.log2(kernel.flops + 1))


def test_a_product_shows_rows_inner_dimension_and_columns(invented: ModuleType) -> None:
    row = features([invented.product(64, 256, 512)], Lane.parse("cpu"), invented.DEVICE).iloc[0]
    assert (row["h_out"], row["c_in"], row["c_out"]) == (64, 256, 512)


def test_transposes_of_one_shape_differ_by_what_stays_side_by_side() -> None:
    shape = (1, 8, 8, 8)

    def transposed(*perm: int) -> Kernel:
        node = KernelNode(op_type="Transpose", inputs=("i0",), outputs=("o0",), attributes=(("perm", perm),))
        x, y = (TensorSpec(name=name, dtype="float32", shape=shape) for name in ("i0", "o0"))
        return Kernel(family="data_movement", nodes=(node,), inputs=(x,), outputs=(y,), opset=17, flops=0)

    rows = kernel_rows([transposed(0, 2, 3, 1), transposed(0, 2, 1, 3)])
    differ = [feature.name for feature, apart in zip(KERNEL_FEATURES, rows[0] != rows[1], strict=True) if apart]
    assert differ == ["log_run"]
    assert rows[:, COLUMN["log_run"]] == pytest.approx(np.log2([1 * 4 + 1, 8 * 4 + 1]))


def test_lanes_differ_only_in_their_own_columns(invented: ModuleType) -> None:
    kernels = invented.draw_kernels(5, 1)
    one = features(kernels, Lane.parse("cpu/f32/t1/nospin"), invented.DEVICE)
    two = features(kernels, Lane.parse("openvino:cpu/bf16/c0+1"), invented.DEVICE)
    shared = [feature.name for feature in KERNEL_FEATURES]
    assert one[shared].equals(two[shared])
    assert (one["threads"].iloc[0], two["threads"].iloc[0]) == (1, len(invented.DEVICE.cores))
    assert (one["spinning"].iloc[0], two["spinning"].iloc[0], two["pinned"].iloc[0]) == (0, -1, 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_without_static_shapes_or_inputs_still_have_finite_rows(family: str) -> None:
    nothing = Kernel(
        family=family,
        nodes=(KernelNode(op_type="Loop", inputs=("i0", ""), outputs=("o0",)),),
        inputs=(TensorSpec(name="i0", dtype="float32", shape=(-1, 4)),),
        outputs=(TensorSpec(name="o0", dtype="float32", shape=None),),
        opset=17,
        flops=0,
        buildable=False,
    )
    constant = Kernel(
        family=family,
        nodes=(KernelNode(op_type="RandomUniform", inputs=(), outputs=("o0",)),),
        inputs=(),
        outputs=(TensorSpec(name="o0", dtype="int64", shape=()),),
        opset=17,
        flops=0,
    )
    assert np.isfinite(kernel_rows([nothing, constant])).all()


def test_rows_follow_the_order_of_kernels_and_survive_forgetting(invented: ModuleType) -> None:
    kernels = invented.draw_kernels(20, 1)
    rows = KernelRows(limit=8)
    for part in (kernels[:6], kernels[4:10], kernels, kernels[::-1]):
        unique, inverse = rows.take(part)
        expected = kernel_rows(part)
        assert np.array_equal(unique[inverse], expected)
