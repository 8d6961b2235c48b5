"""An invented device of four cores: convolutions whose true latency is known."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType

import pytest

from autotune.core import (
    Failure,
    FailureKind,
    Identity,
    Kernel,
    Lane,
    Measurement,
    Notes,
    ProfileRecord,
    Protocol,
)
from autotune.profiler.probes import reference_kernel

ONE, ALL = Lane.parse("cpu/f32/t1"), Lane.parse("cpu/f32/t4")
CORES = (0, 1, 2, 3)


def kernels(count: int = 60) -> dict[str, Kernel]:
    """By signature: convolutions of growing size."""
    found = [reference_kernel(4 * (1 + at % 8), 6 + 4 * (at // 8)) for at in range(count)]
    return {kernel.signature: kernel for kernel in found}


def latency_us(kernel: Kernel, lane: Lane) -> float:
    """A roofline with a step that only a measurement shows."""
    step = 3.0 if (kernel.inputs[0].shape or (0, 0))[1] == 20 else 1.0
    return 2.0 + step * kernel.flops / 5e4 / math.sqrt(lane.concurrency.threads)


def record(kernel: Kernel, lane: Lane, *, device: str = "d", fails: bool = False) -> ProfileRecord:
    """What a measurement gives."""
    truth = latency_us(kernel, lane)
    result = Failure(kind=FailureKind.CRASH, message="signal 11") if fails else Measurement(samples_us=(truth,) * 5)
    return ProfileRecord(
        kernel=kernel,
        lane=lane,
        result=result,
        identity=Identity(device=device, provider="p 1", runtime="r 1", protocol=Protocol.MARGINAL),
        notes=Notes(time="2026-01-01T00:00:00Z", code_version="0"),
    )


class Clock:
    """Goes on only when something is measured."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Invented:
    """Measures at once; each kernel takes a second of the clock."""

    def __init__(self, clock: Clock, *, crashes: Callable[[Kernel], bool] = lambda _: False) -> None:
        self.clock, self.crashes = clock, crashes
        self.asked: list[tuple[Kernel, Lane]] = []
        self.cores: list[tuple[int, ...]] = []
        self.begun = threading.Event()
        self.silent: set[str] = set()

    def measure(
        self,
        kernels: Sequence[Kernel],
        lane: Lane,
        *,
        cores: Sequence[int],
        deadline_s: float,
        on_record: Callable[[ProfileRecord], None],
    ) -> None:
        self.begun.set()
        self.cores.append(tuple(cores))
        for kernel in kernels:
            self.clock.now += 1.0
            self.asked.append((kernel, lane))
            if kernel.signature not in self.silent:
                on_record(record(kernel, lane, fails=self.crashes(kernel)))


@pytest.fixture(scope="session")
def invented() -> ModuleType:
    """This module."""
    return sys.modules[__name__]


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores that this machine may not have are not pinned."""
    monkeypatch.setattr("autotune.learning.loop.pin_thread", lambda cores: None)
