"""What a discovery finds, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotune.core import Processor
from autotune.errors import MissingProcessorError


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenProvider:
    """A provider that is installed but cannot be used.

    Args:
        name: the package or provider.
        reason: what was seen.
        cure: what to do.
        absent: whether it works, and there is just no device for it.
    """

    name: str
    reason: str
    cure: str = ""
    absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What was found.

    Args:
        processors: those that work, `cpu` first.
        broken: those that do not.
        runtime: distribution and version that provide ONNX Runtime, `onnxruntime 1.32.0`.
        fresh: whether it was found now, not known from before.
    """

    processors: tuple[Processor, ...]
    broken: tuple[BrokenProvider, ...]
    runtime: str
    fresh: bool = field(default=True, compare=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each provider that cannot be used; an absent device is named only when that is found out."""
        told = [item for item in self.broken if self.fresh or not item.absent]
        return tuple(f"{item.name}: {item.reason} (what to do: autotune processors)." for item in told)

    def get(self, name: str) -> Processor:
        """The processor of this name.

        Raises:
            MissingProcessorError: there is none here; lists the known and why others are not usable.
        """
        for processor in self.processors:
            if processor.name == name:
                return processor
        known = ", ".join(processor.name for processor in self.processors)
        why = "; ".join(f"{item.name}: {item.reason}. {item.cure}" for item in self.broken)
        raise MissingProcessorError(
            f"no processor {name!r} here; known: {known}." + (f" Not usable: {why}" if why else "")
        )
