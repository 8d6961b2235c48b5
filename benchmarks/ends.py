"""What a convolution takes alone, between small ends, and as copies side by side: why a kernel is not simply timed.

    python benchmarks/ends.py

Medians in µs, on every lane of this machine with all cores and the CPU provider on one.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

from common import write

from autotune.core import Kernel, Lane
from autotune.graph import build_kernel, made_of_pixels, with_means
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler.probes import Bound, Form, Probe, reference_kernel

SHAPES = ((3, 64, 224, 3), (48, 32, 160, 1), (24, 144, 56, 1), (64, 64, 56, 3))
"""Channels in and out, height and width, window."""
ROUNDS, ROUND_S = 7, 0.02


def convolution(c_in: int, c_out: int, size: int, window: int) -> Kernel:
    square = reference_kernel(c_in, size)
    first, activation = square.nodes
    image, (weights, bias), (out,) = square.inputs[0], square.weights, square.outputs
    return replace(
        square,
        nodes=(replace(first, attributes=(("pads", (window // 2,) * 4),)), activation),
        inputs=(image,),
        weights=(replace(weights, shape=(c_out, c_in, window, window)), replace(bias, shape=(c_out,))),
        outputs=(replace(out, shape=(1, c_out, size, size)),),
        flops=2 * c_in * c_out * size * size * window * window,
    )


def lanes() -> list[Lane]:
    cores = this_device().cores
    found = [lane for processor in discover().processors for lane in lanes_of(processor, cores=cores)]
    return [
        lane
        for lane in found
        if lane.concurrency.spinning is None and (lane.concurrency.threads != 1 or lane.processor == "cpu")
    ]


def times_us(kernel: Kernel, lane: Lane) -> dict[str, float]:
    plain = Bound(build_kernel(kernel).SerializeToString(), kernel.inputs, lane)
    model = with_means(build_kernel(kernel), kernel)
    pixels = made_of_pixels(model, kernel.inputs)
    small = Bound(model.SerializeToString(), pixels, lane)
    fan = Probe(kernel, lane, shared_pool=False, seed=0, form=Form.FAN)
    found: dict[str, list[float]] = {"alone": [], "small_ends": [], "copies": []}
    for _ in range(ROUNDS):
        found["alone"].append(plain.sample_us(ROUND_S))
        found["small_ends"].append(small.sample_us(ROUND_S))
        fan.take(ROUND_S)
        found["copies"].append(fan.samples[-1][1])
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    rows: list[dict[str, Any]] = []
    for lane in lanes():
        for shape in SHAPES:
            rows.append({"lane": str(lane), "shape": shape} | times_us(convolution(*shape), lane))
            print(rows[-1], flush=True)
    print(write("ends", rows, largest_factor=max(row["alone"] / row["copies"] for row in rows)))


if __name__ == "__main__":
    main()
