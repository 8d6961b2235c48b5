"""What was measured, and under which identity. Predicted times are another type (`autotune.core.prediction`)."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from autotune.core.kernel import Kernel
from autotune.core.lane import Lane
from autotune.core.plan import Timing

PROTOCOL_VERSION = 5
"""Changes whenever the way of measuring changes what the numbers mean; records of unlike versions never mix."""

DISTURBED_RATIO = 1.1
"""How many times slower one of the sentinel's kernels is beside a measurement that is worth another one."""
DISTURBED_LEVEL = 1.06
"""How many times slower the sentinel is in a process that was never on a calm machine."""


class Protocol(StrEnum):
    """How a measurement was made.

    DESIGN: two protocols; marginal is screening of a kernel less its entry and exit, co-run is screening alone and
    beside other work. What others published was made their way.
    """

    SCREENING = "screening"
    DECIDING = "deciding"
    MARGINAL = "marginal"
    CO_RUN = "co-run"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Raw samples of one latency, in microseconds, in the order they were taken.

    Under load they are samples of what the scenario asks for, so that less is better too: MultiStream's 99th percentile
    of a query, Server's time between arrivals at the highest rate within the bound.

    Args:
        samples_us: at least one, each positive.
        load_s: seconds to create the session or sessions, 0 where it was not measured.
        peak_bytes: peak resident memory of the process, 0 where it was not measured.
        under_load: latencies and throughput of the load that the samples come from; None where there was none.
    """

    samples_us: tuple[float, ...]
    load_s: float = 0.0
    peak_bytes: int = 0
    under_load: Timing | None = None

    def __post_init__(self) -> None:
        if not self.samples_us or not all(sample > 0 for sample in self.samples_us):
            raise ValueError(f"a measurement needs positive samples, got {self.samples_us[:5]}")

    @property
    def median_us(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples_us)

    def percentile_us(self, percent: float) -> float:
        """Linear-interpolated percentile, `percent` in 0..100."""
        ordered = sorted(self.samples_us)
        position = (len(ordered) - 1) * percent / 100
        low = int(position)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (position - low)

    @property
    def interval_us(self) -> tuple[float, float]:
        """Distribution-free interval of the median at about 95 % (order statistics; binomial, normal approximation)."""
        ordered = sorted(self.samples_us)
        count = len(ordered)
        reach = 0.98 * count**0.5
        low = max(0, int(count / 2 - reach))
        high = min(count - 1, int(count / 2 + reach))
        return ordered[low], ordered[high]


class FailureKind(StrEnum):
    """Why there is no measurement."""

    CRASH = "crash"
    HANG = "hang"
    MEMORY = "memory"
    UNSUPPORTED = "unsupported"
    ERROR = "error"
    BOUND = "bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A measurement that could not be had; never NaN or a huge number.

    Args:
        kind: crash, hang, out of memory, unsupported by the provider, any other error, or a latency bound that no load
            keeps.
        message: what was seen, for people.
        closest_us: the lowest latency where a bound was missed; 0 for other failures.
    """

    kind: FailureKind
    message: str
    closest_us: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What decides which measurements may be mixed.

    Args:
        device: the device's identifier (`Device.id`).
        provider: provider's name and version, `OpenVINOExecutionProvider 1.8.1`.
        runtime: ONNX Runtime's distribution and version, `onnxruntime 1.32.0`.
        driver: the device driver's version where one matters, else empty.
        protocol: protocol of the measurement.
        protocol_version: see `PROTOCOL_VERSION`.
    """

    device: str
    provider: str
    runtime: str
    driver: str = ""
    protocol: Protocol
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Circumstances that never decide what may be mixed.

    Args:
        time: ISO 8601, UTC.
        code_version: autotune's version.
        governor: CPU frequency governor, empty where unknown.
        power_source: `mains`, `battery` or empty.
        load_average: one-minute load average before the measurement.
        sentinel_ratio: the lane's sentinel beside the measurement over its fastest, of its kernels the one that was
            slowed most; 1.0 means that nothing disturbed.
        sentinel_us: µs of the lane's sentinel at the speed to which the result was brought; 0 where it is not known.
    """

    time: str
    code_version: str
    governor: str = ""
    power_source: str = ""
    load_average: float = 0.0
    sentinel_ratio: float = 1.0
    sentinel_us: float = 0.0

    def slower_when(self, sentinel_us: float) -> float:
        """How many times longer the same work takes on a machine whose sentinel takes `sentinel_us`; 1 if unknown."""
        return sentinel_us / self.sentinel_us if self.sentinel_us > 0 and sentinel_us > 0 else 1.0

    def disturbed(self, fastest_us: float) -> bool:
        """Whether the machine was not at its fastest, where its sentinel takes `fastest_us` (0: unknown)."""
        slower = self.sentinel_us / fastest_us if fastest_us > 0 else 1.0
        return self.sentinel_ratio > DISTURBED_RATIO or slower > DISTURBED_LEVEL


def fastest_sentinel_us(notes: Iterable[Notes]) -> float:
    """What a lane's sentinel took at its fastest beside these measurements, in µs; 0 where none knows it."""
    return min((one.sentinel_us for one in notes if one.sentinel_us > 0), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRecord:
    """One kernel on one lane: what was measured (its marginal cost), where, and when."""

    kernel: Kernel
    lane: Lane
    result: Measurement | Failure
    identity: Identity
    notes: Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage (or a whole model) on one lane, measured.

    Args:
        model_sha256: the prepared model's hash.
        start: first kernel of the stage, in the order of the model's kernels.
        stop: one past its last kernel.
        kernels: signatures of the stage's kernels, in order.
        bytes_in: bytes of activations that come in.
        bytes_out: bytes that go out.
        lane: where it ran.
        result: its latency, host arrays in, host arrays out.
        errors: squared relative error that this stage alone adds to each output of the model, as (output part, value).
        predicted_us: what was predicted before measuring, 0 where nothing was.
        identity: see `Identity`.
        notes: see `Notes`.
    """

    model_sha256: str
    start: int
    stop: int
    kernels: tuple[str, ...]
    bytes_in: int
    bytes_out: int
    lane: Lane
    result: Measurement | Failure
    errors: tuple[tuple[str, float], ...] = ()
    predicted_us: float = 0.0
    identity: Identity
    notes: Notes
