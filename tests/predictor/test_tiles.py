"""What blocked convolutions, pools and copies of images compute and read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from autotune.core import FAMILIES
from autotune.predictor.features import COLUMN, KERNEL_FEATURES
from autotune.predictor.geometry import NO_GEOMETRY, Geometry
from autotune.predictor.shapes import MAIN_OPS
from autotune.predictor.tiles import Work, unblocked, work

AVX512 = Geometry(tile=16, columns=6)
EVEN = {
    "n": 1,
    "c_in": 64,
    "c_out": 64,
    "h_out": 20,
    "w_out": 24,
    "kernel_h": 1,
    "kernel_w": 1,
    "stride": 1,
    "groups": 1,
}


def row(family: str = "convolution", main: str = "Conv", **dims: int) -> np.ndarray:
    """Features of one kernel, the FLOPs and float32 bytes of its dimensions; without padding, if no input is given."""
    own = EVEN | {"dilation": 1, "rank": 4, "bits": 32} | dims
    for side in "hw":
        reach = (own[f"{side}_out"] - 1) * own["stride"] + (own[f"kernel_{side}"] - 1) * own["dilation"] + 1
        own.setdefault(f"{side}_in", reach)
    inputs = own["c_in"] // own["groups"]
    taps, pixels = own["kernel_h"] * own["kernel_w"], own["n"] * own["h_out"] * own["w_out"]
    amounts = {
        "flops": 2 * pixels * own["c_out"] * inputs * taps,
        "bytes_in": 4 * own["n"] * own["c_in"] * own["h_in"] * own["w_in"],
        "bytes_out": 4 * pixels * own["c_out"],
        "weight_bytes": 4 * own["c_out"] * inputs * taps,
    }
    found = np.zeros((1, len(KERNEL_FEATURES)), dtype=np.float32)
    found[0, FAMILIES.index(family)], found[0, COLUMN["main_op"]] = 1, MAIN_OPS.index(main)
    for name, value in own.items():
        found[0, COLUMN[name]] = value
    for name, value in amounts.items():
        found[0, COLUMN[f"log_{name}"]] = math.log2(value + 1)
    return found


def over_even(own: np.ndarray, geometry: Geometry) -> float:
    """What the busiest thread could compute, over the kernel's own FLOPs."""
    return float(work(own, geometry).flops[0] / work(own, NO_GEOMETRY).flops[0])


def done(**dims: Any) -> Work:
    return work(row(**dims), AVX512)


@pytest.mark.parametrize(
    ("channels", "groups", "height", "threads", "tile", "share"),
    [
        (64, 1, 20, 2, 16, 1.0),  # one set of four tiles: threads share its rows
        (64, 1, 7, 2, 16, 8 / 7),  # four rows and three
        (80, 1, 20, 2, 16, 8 / 5),  # four tiles a row for one thread, one for the other
        (80, 1, 20, 1, 16, 1.0),
        (80, 1, 20, 2, 0, 1.0),
        (96, 1, 20, 2, 16, 8 / 6),
        (72, 1, 20, 1, 16, 80 / 72),
        (1, 1, 20, 2, 16, 16.0),
        (128, 4, 20, 2, 16, 1.0),  # 32 channels a group, two tiles
        (80, 1, 20, 3, 8, 12 / 10),  # sets of four, four and two tiles, one for each thread
    ],
)
def test_the_busiest_thread_is_waited_for_and_tiles_are_filled_up(
    channels: int, groups: int, height: int, threads: int, tile: int, share: float
) -> None:
    geometry = Geometry(tile=tile, threads=threads)
    own: dict[str, Any] = {"c_out": channels, "groups": groups, "h_out": height}
    assert over_even(row(**own), geometry) == pytest.approx(share, rel=1e-3)
    assert over_even(row(main="ConvTranspose", **own), geometry) == 1.0


def test_columns_in_the_padding_are_computed_one_by_one() -> None:
    wide: dict[str, Any] = {"c_in": 128, "c_out": 128, "h_out": 17, "w_out": 17, "h_in": 17, "w_in": 17}
    along, across = done(kernel_w=7, **wide), done(kernel_h=7, **wide)
    assert 1.15 < along.flops[0] / across.flops[0] < 1.4  # 228 and 285 GFLOP/s were measured
    free = over_even(row(kernel_w=7, c_in=128, c_out=128, w_out=24), AVX512)
    assert free == pytest.approx(1.0, abs=0.02)  # none, and four times six


def test_taps_in_the_padding_are_not_computed() -> None:
    same: dict[str, Any] = {"h_out": 8, "w_out": 8, "h_in": 8, "w_in": 8, "kernel_h": 3, "kernel_w": 3, "c_in": 256}
    assert over_even(row(dilation=12, **same), AVX512) < 0.3  # only the tap in the middle is inside
    assert over_even(row(dilation=1, **same), AVX512) > 0.9


@pytest.mark.parametrize(
    ("dims", "least", "most"),
    [
        ({"c_out": 16}, 1.3, 1.45),  # one tile has too few sums for the processor's latency
        ({"c_out": 24}, 1.3, 1.4),  # two tiles for one and a half
        ({"c_in": 24}, 1.3, 1.45),  # inputs come in blocks of 16
        ({"h_out": 30, "w_out": 1}, 1.0, 1.05),  # rows of a window of one are one row
        ({"w_out": 1, "kernel_w": 3}, 1.9, 2.1),  # a column alone waits for the latency
        ({"w_out": 2, "kernel_w": 3}, 1.0, 1.05),
    ],
)
def test_few_channels_and_columns_cost_as_much_as_several(dims: dict[str, Any], least: float, most: float) -> None:
    assert least < over_even(row(**dims), AVX512) < most


def test_a_depthwise_convolution_and_a_pool_are_computed_tile_by_tile() -> None:
    own: dict[str, Any] = {"c_in": 96, "c_out": 96, "kernel_h": 3, "kernel_w": 3}
    depthwise, pool = (
        work(row(family, main, groups=groups, **own), AVX512)
        for family, main, groups in (("depthwise", "Conv", 96), ("pooling", "MaxPool", 1))
    )
    assert 0.5 * depthwise.flops < pool.flops < depthwise.flops  # maxima wait for nothing
    narrow = work(row("depthwise", groups=96, **(own | {"w_out": 7, "w_in": 7})), AVX512)
    assert narrow.flops[0] / 7 > 1.5 * depthwise.flops[0] / 24


def test_a_row_of_a_depthwise_convolution_costs_a_beginning() -> None:
    """As measured on one thread of a Zen 3, up to a factor: cycles of an image of one tile, at 3.6 GHz."""
    over = []
    for width, cycles in ((7, 1546), (14, 3857), (28, 11255), (56, 38294)):
        sides: dict[str, Any] = dict.fromkeys(("h_in", "w_in", "h_out", "w_out"), width)
        own = row("depthwise", c_in=8, c_out=8, groups=8, kernel_h=3, kernel_w=3, **sides)
        over.append(math.log(work(own, Geometry(tile=8, columns=3)).flops[0] / cycles))
    assert np.ptp(over) < 0.25  # 0.7 without


@pytest.mark.parametrize(
    ("dims", "apart"),
    [
        ({}, False),
        ({"c_in": 3}, False),  # an image
        ({"c_in": 18}, True),
        ({"c_in": 20}, False),
        ({"rank": 3, "w_out": 1}, True),
        ({"c_in": 128, "c_out": 128, "groups": 4}, False),
        ({"c_in": 96, "c_out": 96, "groups": 4}, True),  # 24 channels a group
        ({"c_in": 58, "c_out": 58, "groups": 58}, True),
        ({"c_in": 60, "c_out": 60, "groups": 60}, False),
        ({"main": "AveragePool", "family": "pooling", "c_in": 88, "c_out": 88}, True),
        ({"main": "AveragePool", "family": "pooling", "c_in": 96, "c_out": 96}, False),
    ],
)
def test_what_is_not_blocked_stays_as_its_flops_say(dims: dict[str, Any], apart: bool) -> None:
    found = work(row(**dims), AVX512)
    assert bool(found.apart[0]) is apart
    if apart:
        assert over_even(row(**dims), AVX512) == 1.0
    assert not work(row(**dims), Geometry(tile=16)).apart.any()


def test_inputs_are_read_for_each_set_and_weights_for_each_row_from_beyond_a_cores_cache() -> None:
    assert done(c_in=128, c_out=256, h_out=20).streamed == 0
    large = done(c_in=128, c_out=256, h_out=80, w_out=80)
    assert large.streamed == pytest.approx(4 * 4 * 128 * 80 * 80, rel=1e-3)
    heavy = done(c_in=1024, c_out=64, kernel_h=3, kernel_w=3, h_out=7, w_out=2)
    assert heavy.streamed == pytest.approx(7 * 4 * 1024 * 64 * 9, rel=1e-3)


@pytest.mark.parametrize(
    ("main", "channels", "expected"), [("Split", 64, True), ("Split", 58, False), ("Concat", 64, False)]
)
def test_images_are_taken_apart_for_what_has_no_blocked_form(main: str, channels: int, expected: bool) -> None:
    own = row("data_movement", main, c_in=channels)
    assert bool(unblocked(own, AVX512)[0]) is expected
    assert not unblocked(own, Geometry(tile=16)).any()
