"""Small records, made up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from autotune.core import (
    CoRunMeasurement,
    CoRunRecord,
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
    StageRecord,
    TensorSpec,
)
from autotune.datasets import Store

CPU, OPENVINO = Lane.parse("cpu/f32/t2/nospin"), Lane.parse("openvino:cpu/bf16/t1/s2")


def kernel(channels: int = 8) -> Kernel:
    """An activation."""
    shape = (1, channels, 4, 4)
    return Kernel(
        family="elementwise",
        nodes=(KernelNode(op_type="LeakyRelu", inputs=("i0",), outputs=("o0",), attributes=(("alpha", 0.1),)),),
        inputs=(TensorSpec(name="i0", dtype="float32", shape=shape),),
        outputs=(TensorSpec(name="o0", dtype="float32", shape=shape),),
        opset=17,
        flops=channels * 16,
    )


def identity(device: str = "0123456789ab", version: str = "1") -> Identity:
    """An identity."""
    return Identity(device=device, provider=f"P {version}", runtime="onnxruntime 1", protocol=Protocol.MARGINAL)


def notes(time: str = "2026-01-01T00:00:00Z") -> Notes:
    """Circumstances."""
    return Notes(time=time, code_version="0.1.0", governor="performance", load_average=0.5)


def measurement(*samples_us: float) -> Measurement:
    """A measurement."""
    return Measurement(samples_us=samples_us or (1.5, 2.5, 0.1 + 0.2), load_s=0.25, peak_bytes=2**40)


def record(
    channels: int = 8,
    lane: Lane = CPU,
    *,
    samples_us: tuple[float, ...] = (),
    device: str = "0123456789ab",
    version: str = "1",
    time: str = "2026-01-01T00:00:00Z",
) -> ProfileRecord:
    """A profile record."""
    return ProfileRecord(
        kernel=kernel(channels),
        lane=lane,
        result=measurement(*samples_us),
        identity=identity(device, version),
        notes=notes(time),
    )


def failed(channels: int = 8, lane: Lane = CPU) -> ProfileRecord:
    """A profile record of a crash."""
    return ProfileRecord(
        kernel=kernel(channels),
        lane=lane,
        result=Failure(kind=FailureKind.CRASH, message="signal 11 in 'Conv'"),
        identity=identity(),
        notes=notes(),
    )


def stage(model: str = "m" * 64, lane: Lane = CPU, start: int = 0) -> StageRecord:
    """A stage record."""
    return StageRecord(
        model_sha256=model,
        start=start,
        stop=start + 2,
        kernels=(kernel(8).signature, kernel(16).signature),
        bytes_in=2**33,
        bytes_out=100,
        lane=lane,
        result=measurement(),
        errors=(("boxes", 1e-7), ("scores", 0.0)),
        predicted_us=12.5,
        identity=identity(),
        notes=notes(),
    )


def corun(victim: int = 8, beside: int = 16, *, beside_us: tuple[float, ...] = (1.5,)) -> CoRunRecord:
    """A co-run record."""
    result = CoRunMeasurement(alone_us=(0.1 + 0.2,) * len(beside_us), beside_us=beside_us)
    return CoRunRecord(
        victim=(kernel(victim), kernel(24)),
        victim_lane=CPU,
        beside=(kernel(beside),),
        beside_lane=OPENVINO,
        result=result,
        identity=replace(identity(), protocol=Protocol.CO_RUN),
        notes=notes(),
    )


def corun_failed() -> CoRunRecord:
    """A co-run record of a crash."""
    return replace(corun(24), result=Failure(kind=FailureKind.CRASH, message="signal 11"))


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """This module: kernels and records."""
    return sys.modules[__name__]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the store of a test lies."""
    return f"sqlite:///{tmp_path / 'profiles.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store."""
    with Store(url) as opened:
        yield opened
