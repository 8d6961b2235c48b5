"""An event as it is kept until MLflow has it, and its fields as MLflow takes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.core.codec import encode

_ODD = re.compile(r"[^\w\-. /]", re.ASCII)
_MAX_NAME = 250
_MAX_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What an observer was told, frozen at that moment.

    Args:
        name: what happened.
        time_ms: when, milliseconds since 1970.
        fields: plain JSON values.
    """

    name: str
    time_ms: int
    fields: dict[str, Any]


def freeze(name: str, fields: Mapping[str, object], *, time_ms: int) -> Event:
    """An event with its own copy of the fields; what JSON does not know becomes text."""
    copy = json.loads(json.dumps(encode(dict(fields)), default=_plain))
    return Event(name=name, time_ms=time_ms, fields=copy)


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)  # NumPy's scalars
    if callable(item) and getattr(value, "ndim", 1) == 0:
        return item()
    encoded = encode(value)
    return str(value) if encoded is value else encoded


def flatten(fields: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, float], dict[str, str]]:
    """Numbers and texts of nested fields under dotted names that MLflow allows; None is left out.

    `{"speedup": {"ratio": 1.5}, "device": "abc"}` -> `{"speedup.ratio": 1.5}, {"device": "abc"}`.
    """
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    for key, value in fields.items():
        name = _ODD.sub("_", f"{prefix}{key}")[:_MAX_NAME]
        if isinstance(value, dict):
            inner_numbers, inner_texts = flatten(value, f"{prefix}{key}.")
            numbers |= inner_numbers
            texts |= inner_texts
        elif isinstance(value, bool):
            texts[name] = str(value).lower()
        elif isinstance(value, (int, float)):
            numbers[name] = float(value)
        elif isinstance(value, list):
            texts[name] = ", ".join(str(item) for item in value)[:_MAX_TEXT]
        elif value is not None:
            texts[name] = str(value)[:_MAX_TEXT]
    return numbers, texts
