"""Processors and lanes: where and how a part of a model runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from autotune.errors import UsageError


class Precision(StrEnum):
    """The precision in which a lane computes; inputs and outputs keep the model's types."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"

    @property
    def is_reference(self) -> bool:
        """Whether this is float32, the precision that outputs are compared with."""
        return self is Precision.F32


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """An execution provider on a hardware device.

    Args:
        name: `cpu`, `openvino:cpu`, `webgpu:gpu`, `qnn:npu`: provider and device.
        provider: ONNX Runtime's name, for instance `OpenVINOExecutionProvider`.
        device: `cpu`, `gpu` or `npu`.
        version: the provider's version, as it says itself.
        vendor: the hardware's vendor.
        registration: `builtin` (part of this build of ONNX Runtime) or `plugin` (a library that is registered).
        library: path of the plugin's library, empty for a built-in provider.
        precisions: those that work here, tested by effect.
        ordinal: which of several equal devices.
    """

    name: str
    provider: str
    device: str
    version: str
    vendor: str = ""
    registration: str = "builtin"
    library: str = ""
    precisions: tuple[Precision, ...] = (Precision.F32,)
    ordinal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """Threads, cores and streams of a lane.

    Args:
        threads: threads of one inference; 0 leaves the provider's default.
        cores: cores that the threads are pinned to; empty leaves them free.
        streams: inferences that the session runs at the same time.
        spinning: whether idle threads spin; None leaves the provider's default.
    """

    threads: int = 0
    cores: tuple[int, ...] = ()
    streams: int = 1
    spinning: bool | None = None

    def __post_init__(self) -> None:
        if self.threads < 0 or self.streams < 1:
            raise UsageError(f"threads must be >= 0 and streams >= 1, got {self.threads} and {self.streams}")
        if len(set(self.cores)) != len(self.cores):
            raise UsageError(f"a core is named twice in {self.cores}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A processor, a precision and concurrency settings: three values in one.

    `str(lane)` and `Lane.parse` are inverse: `cpu/f32/t2`, `openvino:cpu/bf16/t1/s2`, `cpu/f32/t2/c0+1/nospin`. A part
    that is not written is left to the provider.

    Args:
        processor: the processor's name.
        precision: what it computes in.
        concurrency: threads, cores, streams, spinning.
        options: further provider options, (name, value), sorted by name.
    """

    processor: str
    precision: Precision = Precision.F32
    concurrency: Concurrency = Concurrency()
    options: tuple[tuple[str, str], ...] = ()

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the CPU's cores."""
        return self.processor.rpartition(":")[2] == "cpu"

    @property
    def kind(self) -> tuple[str, Precision]:
        """Processor and precision: what decides its outputs, but for rounding, whatever its threads and cores."""
        return self.processor, self.precision

    @property
    def threads_each(self) -> int:
        """Threads of one inference, 0 where the provider chooses; OpenVINO is told those of all its streams."""
        setting = self.concurrency
        return setting.threads if self.processor == "cpu" else setting.threads // setting.streams

    def threads_busy(self, callers: int) -> int:
        """CPU threads that it keeps busy with so many inferences at a time; one each where the provider chooses."""
        if not self.on_cpu:
            return 0
        threads = max(1, self.concurrency.threads)
        return threads if self.concurrency.streams > 1 and self.processor != "cpu" else threads * callers

    def __str__(self) -> str:
        setting = self.concurrency
        parts = [self.processor, str(self.precision)]
        parts += [f"t{setting.threads}"] if setting.threads else []
        parts += [f"s{setting.streams}"] if setting.streams > 1 else []
        parts += ["c" + "+".join(map(str, setting.cores))] if setting.cores else []
        parts += [] if setting.spinning is None else ["spin" if setting.spinning else "nospin"]
        parts += [f"{name}={value}" for name, value in self.options]
        return "/".join(parts)

    @staticmethod
    def parse(text: str) -> Lane:
        """The lane that `text` names.

        Raises:
            UsageError: `text` is not a lane.
        """
        processor, *parts = text.split("/")
        precision, threads, streams = Precision.F32, 0, 1
        cores: tuple[int, ...] = ()
        spinning: bool | None = None
        options: list[tuple[str, str]] = []
        for part in parts:
            if part in set(Precision):
                precision = Precision(part)
            elif match := re.fullmatch(r"t(\d+)", part):
                threads = int(match[1])
            elif match := re.fullmatch(r"s(\d+)", part):
                streams = int(match[1])
            elif match := re.fullmatch(r"c(\d+(?:\+\d+)*)", part):
                cores = tuple(int(core) for core in match[1].split("+"))
            elif part in ("spin", "nospin"):
                spinning = part == "spin"
            elif "=" in part:
                name, _, value = part.partition("=")
                options.append((name, value))
            else:
                raise UsageError(
                    f"{text!r} is no lane: {part!r} is none of f32, bf16, t2, s2, c0+1, nospin, name=value"
                )
        return Lane(
            processor=processor,
            precision=precision,
            concurrency=Concurrency(threads=threads, cores=cores, streams=streams, spinning=spinning),
            options=tuple(sorted(options)),
        )


DEFAULT_LANE = Lane(processor="cpu")
"""ONNX Runtime's default: the CPU provider, nothing set."""
