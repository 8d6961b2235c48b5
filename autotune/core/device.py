"""The machine as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The machine that measures.

    Args:
        id: 12 hexadecimal digits over the facts that decide speed (processor model, cores, features, memory size).
        name: the processor's model name, for people.
        system: operating system and release.
        machine: architecture, `x86_64`.
        cores: cores that this process may use (its affinity mask, and its CPU quota where smaller).
        memory_bytes: physical memory.
        features: instruction sets that matter (`avx512f`, `avx512_bf16`, `amx_bf16`, …), sorted.
    """

    id: str
    name: str
    system: str
    machine: str
    cores: tuple[int, ...]
    memory_bytes: int
    features: tuple[str, ...] = ()
