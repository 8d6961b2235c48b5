"""An invented device: latencies as a function of kernel and lane, so that every test knows the truth."""

from __future__ import annotations

import math
import random
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import pytest

from autotune.core import (
    Device,
    Failure,
    FailureKind,
    Identity,
    Kernel,
    KernelNode,
    Lane,
    Measurement,
    Notes,
    ProfileRecord,
    Protocol,
    TensorSpec,
)

CORES = 2
LANES = tuple(map(Lane.parse, ("cpu/f32/t1", "cpu/f32/t2", "openvino:cpu/f32/t2", "openvino:cpu/bf16/t2")))


def _tensor(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=shape)


def convolution(c_in: int, c_out: int, size: int, *, window: int = 3, groups: int = 1, silu: bool = True) -> Kernel:
    """A convolution with padding that keeps the size, and its activation."""
    attributes = (("group", groups), ("kernel_shape", (window, window)), ("pads", (window // 2,) * 4))
    nodes = [KernelNode(op_type="Conv", inputs=("i0", "w0", "w1"), outputs=("t0",), attributes=attributes)]
    if silu:
        nodes += [
            KernelNode(op_type="Sigmoid", inputs=("t0",), outputs=("t1",)),
            KernelNode(op_type="Mul", inputs=("t0", "t1"), outputs=("o0",)),
        ]
    else:
        nodes += [KernelNode(op_type="Relu", inputs=("t0",), outputs=("o0",))]
    return Kernel(
        family="depthwise" if groups == c_in and groups > 1 else "convolution",
        nodes=tuple(nodes),
        inputs=(_tensor("i0", 1, c_in, size, size),),
        weights=(_tensor("w0", c_out, c_in // groups, window, window), _tensor("w1", c_out)),
        outputs=(_tensor("o0", 1, c_out, size, size),),
        opset=17,
        flops=2 * c_out * size * size * (c_in // groups) * window * window,
    )


def addition(channels: int, size: int) -> Kernel:
    """A residual addition."""
    shape = (1, channels, size, size)
    return Kernel(
        family="elementwise",
        nodes=(KernelNode(op_type="Add", inputs=("i0", "i1"), outputs=("o0",)),),
        inputs=(_tensor("i0", *shape), _tensor("i1", *shape)),
        outputs=(_tensor("o0", *shape),),
        opset=17,
        flops=math.prod(shape),
    )


def product(rows: int, inner: int, columns: int) -> Kernel:
    """A matrix product with constant weights."""
    return Kernel(
        family="matmul",
        nodes=(KernelNode(op_type="MatMul", inputs=("i0", "w0"), outputs=("o0",)),),
        inputs=(_tensor("i0", 1, rows, inner),),
        weights=(_tensor("w0", inner, columns),),
        outputs=(_tensor("o0", 1, rows, columns),),
        opset=17,
        flops=2 * rows * inner * columns,
    )


def draw_kernels(count: int, seed: int) -> list[Kernel]:
    """Distinct kernels of four families."""
    rng = random.Random(seed)
    found: dict[Kernel, None] = {}
    while len(found) < count:
        channels, size = rng.choice((8, 16, 24, 32, 48, 64, 96, 128, 160)), rng.choice((7, 10, 14, 20, 28, 40, 56, 80))
        kind = rng.random()
        if kind < 0.6:
            out = rng.choice((16, 20, 32, 64, 72, 128, 192))
            kernel = convolution(channels, out, size, window=rng.choice((1, 3, 3, 5)), silu=rng.random() < 0.5)
        elif kind < 0.75:
            kernel = convolution(channels, channels, size, groups=channels)
        elif kind < 0.9:
            kernel = addition(channels, size)
        else:
            kernel = product(rng.choice((16, 64, 128, 256)), channels * 4, rng.choice((64, 256, 512, 1000)))
        found[kernel] = None
    return list(found)


def true_latency_us(kernel: Kernel, lane: Lane) -> float:
    """Roofline × tile effects × a quirk of the lane; no noise."""
    threads, bf16 = lane.concurrency.threads or CORES, lane.precision == "bf16"
    openvino = lane.processor.startswith("openvino")
    rate = (70e3 if openvino else 50e3) * math.pow(threads, 0.85) * (2.4 if bf16 else 1.0)  # FLOPs per µs
    out = (kernel.outputs[0].shape or (1,))[1]
    rate *= out / (math.ceil(out / (32 if openvino else 16)) * (32 if openvino else 16))
    rate *= {"depthwise": 0.15, "elementwise": 0.3}.get(kernel.family, 1.0)
    if "Sigmoid" in kernel.ops and not openvino:
        rate *= 0.8
    moved = kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes
    bandwidth = 40e3 if moved < 2**20 else 12e3  # bytes per µs: a cache's, then the memory's
    return (1.5 if openvino else 3.0) + max(kernel.flops / rate, moved / bandwidth)


DEVICE = Device(id="0123456789ab", name="Invented", system="none", machine="x86_64", cores=(0, 1), memory_bytes=2**32)


def identity_of(lane: Lane, *, device: str = DEVICE.id, version: str = "1.0") -> Identity:
    """The identity of records of the invented device."""
    return Identity(
        device=device, provider=f"{lane.processor} {version}", runtime="invented 1.0", protocol=Protocol.MARGINAL
    )


def record(
    kernel: Kernel,
    lane: Lane,
    *,
    noise: float = 0.02,
    launch: int = 0,
    device: str = DEVICE.id,
    version: str = "1.0",
) -> ProfileRecord:
    """A measurement of the invented device; `launch` draws other noise."""
    rng = random.Random(zlib.crc32(f"{kernel.signature}{lane}{launch}".encode()))
    common = rng.gauss(0, noise)
    samples = tuple(true_latency_us(kernel, lane) * math.exp(common + rng.gauss(0, noise / 2)) for _ in range(5))
    return ProfileRecord(
        kernel=kernel,
        lane=lane,
        result=Measurement(samples_us=samples),
        identity=identity_of(lane, device=device, version=version),
        notes=Notes(time="2026-01-01T00:00:00Z", code_version="0"),
    )


def measured(kernel: Kernel, lane: Lane, latency_us: float) -> ProfileRecord:
    """A measurement of exactly this."""
    return replace(record(kernel, lane), result=Measurement(samples_us=(latency_us,) * 5))


def failed(kernel: Kernel, lane: Lane) -> ProfileRecord:
    """A record of a crash."""
    return ProfileRecord(
        kernel=kernel,
        lane=lane,
        result=Failure(kind=FailureKind.CRASH, message="signal 11"),
        identity=identity_of(lane),
        notes=Notes(time="2026-01-01T00:00:00Z", code_version="0"),
    )


def profile(kernels: Sequence[Kernel], lanes: Sequence[Lane] = LANES, *, noise: float = 0.02) -> list[ProfileRecord]:
    """Every kernel on every lane."""
    return [record(kernel, lane, noise=noise) for lane in lanes for kernel in kernels]


@pytest.fixture(scope="session")
def invented() -> ModuleType:
    """This module: kernels, lanes and records of the invented device."""
    return sys.modules[__name__]
