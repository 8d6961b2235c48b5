"""Literal session options: what another program needs to make the same session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.core.codec import decode, encode
from autotune.errors import UsageError

LEVELS = ("disabled", "basic", "extended", "layout", "all")
MODES = ("sequential", "parallel")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """Everything that a session is made from, besides the model.

    Args:
        provider: ONNX Runtime's name of the provider.
        registration: `builtin` or `plugin`.
        library: the plugin's library, empty for a built-in provider.
        device: `cpu`, `gpu` or `npu`, which of a plugin's devices is meant.
        ordinal: which of several equal devices.
        provider_options: (name, value).
        config: session config entries, (name, value).
        intra_op_threads: 0 leaves ONNX Runtime's default.
        inter_op_threads: 0 leaves ONNX Runtime's default.
        graph_optimization: one of `LEVELS`.
        execution_mode: one of `MODES`.
    """

    provider: str
    registration: str = "builtin"
    library: str = ""
    device: str = "cpu"
    ordinal: int = 0
    provider_options: tuple[tuple[str, str], ...] = ()
    config: tuple[tuple[str, str], ...] = ()
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    graph_optimization: str = "all"
    execution_mode: str = "sequential"

    def __post_init__(self) -> None:
        if self.graph_optimization not in LEVELS:
            known = ", ".join(LEVELS)
            raise UsageError(f"unknown graph optimization level {self.graph_optimization!r}; known: {known}")
        if self.execution_mode not in MODES:
            raise UsageError(f"unknown execution mode {self.execution_mode!r}; known: {', '.join(MODES)}")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dict(encode(self))

    @staticmethod
    def from_stored(data: Mapping[str, Any]) -> SessionSpec:
        """From what `to_json` gave."""
        return decode(SessionSpec, dict(data))

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SessionSpec:
        """From a user's session options.

        Args:
            data: `providers` (names, or [name, options]), `provider_options`, `intra_op_num_threads`,
                `inter_op_num_threads`, `graph_optimization_level`, `execution_mode`, `session_config`; all optional.

        Raises:
            UsageError: an unknown key or a value of the wrong kind.
        """
        unknown = set(data) - set(_USER_KEYS)
        if unknown:
            raise UsageError(f"unknown session option {', '.join(sorted(unknown))}; known: {', '.join(_USER_KEYS)}")
        provider, options = _first_provider(data)
        return SessionSpec(
            provider=provider,
            provider_options=tuple((str(key), _text(value)) for key, value in options.items()),
            config=tuple((str(key), _text(value)) for key, value in _mapping(data, "session_config").items()),
            intra_op_threads=_whole(data, "intra_op_num_threads"),
            inter_op_threads=_whole(data, "inter_op_num_threads"),
            graph_optimization=_level(data.get("graph_optimization_level", "all")),
            execution_mode=str(data.get("execution_mode", "sequential")).lower().removeprefix("ort_"),
        )


_USER_KEYS = (
    "providers",
    "provider_options",
    "intra_op_num_threads",
    "inter_op_num_threads",
    "graph_optimization_level",
    "execution_mode",
    "session_config",
)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"{key} must be an object, got {value!r}")
    return value


def _whole(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"{key} must be a whole number of at least 0, got {value!r}")
    return value


def _level(value: object) -> str:
    text = str(value).lower().removeprefix("ort_enable_").removeprefix("ort_disable_")
    numbers = {"0": "disabled", "1": "basic", "2": "extended", "99": "all"}
    return "disabled" if str(value) == "ORT_DISABLE_ALL" else numbers.get(text, text)


def _first_provider(data: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The first provider in the list and its options; the CPU provider stands behind it in any case."""
    providers = data.get("providers", ["CPUExecutionProvider"])
    if not isinstance(providers, list) or not providers:
        raise UsageError(f'providers must be a list such as ["CPUExecutionProvider"], got {providers!r}')
    first = providers[0]
    if isinstance(first, list) and len(first) == 2 and isinstance(first[1], dict):
        return str(first[0]), first[1]
    options = data.get("provider_options", [{}])
    chosen = options[0] if isinstance(options, list) and options else options
    if not isinstance(first, str) or not isinstance(chosen, dict):
        raise UsageError(f"providers and provider_options do not fit: {first!r}, {chosen!r}")
    return first, chosen
