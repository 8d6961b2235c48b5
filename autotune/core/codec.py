"""Frozen dataclasses to and from plain JSON values, with the standard library only.

msgspec does the same faster, but `autotune.runtime` must load a plan with nothing beyond NumPy and ONNX Runtime.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
Decoder = Callable[[Any], Any]

_PLAIN = (int, float, str, bool, type(None))


def encode(value: Any) -> Any:
    """Plain JSON value (dict, list, str, int, float, bool, None) of a dataclass, tuple, mapping or enum."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if dataclasses.is_dataclass(kind):
        return {name: encode(getattr(value, name)) for name in _field_names(kind)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return value


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


class _MisfitError(ValueError):
    """Data of another type than wanted; `place` grows on the way out, so that the way in costs nothing."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem)
        self.problem, self.place = problem, place

    def inside(self, place: str) -> _MisfitError:
        """The same one step further out."""
        return _MisfitError(self.problem, place + self.place)


def decode(kind: type[T], data: Any) -> T:
    """A value of type `kind` from what `encode` made; unknown keys are ignored.

    Raises:
        ValueError: a field is missing or has another type; the message names the path to it.
    """
    try:
        return typing.cast("T", _decoder(typing.cast("typing.Hashable", kind))(data))
    except _MisfitError as error:
        raise ValueError(f"{kind.__name__}{error.place}{error.problem}") from None


@cache
def _decoder(kind: Any) -> Decoder:
    """How to read a type, worked out once: types nest, and one kernel has a hundred values."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return lambda data: data
    if origin in (typing.Union, types.UnionType):
        return _union(kind)
    if origin is tuple:
        return _tuple(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast("type", kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return typing.cast("Decoder", kind)

    def plain(data: Any) -> Any:
        if type(data) is kind:
            return data
        if kind is float and type(data) is int:
            return float(data)
        raise _MisfitError(f": expected {kind}, found {data!r:.80}")

    return plain


def _union(kind: Any) -> Decoder:
    choices = typing.get_args(kind)
    readers = [_decoder(choice) for choice in choices]
    direct = {choice for choice in choices if choice in _PLAIN} if _first_come(choices) else set()

    def union(data: Any) -> Any:
        if type(data) in direct:
            return data
        for read in readers:
            try:
                return read(data)
            except ValueError:
                continue
        raise _MisfitError(f": {data!r:.80} is none of {kind}")

    return union


def _first_come(choices: tuple[Any, ...]) -> bool:
    """Whether a plain value is always taken by its own type: none that takes others stands before."""
    rest = [choice for choice in choices if choice not in _PLAIN]
    greedy = any(isinstance(choice, type) and issubclass(choice, enum.Enum) for choice in rest) or Any in rest
    float_first = float in choices and int in choices and choices.index(float) < choices.index(int)
    return not greedy and not float_first


def _tuple(kind: Any) -> Decoder:
    args = typing.get_args(kind)
    any_length = len(args) == 2 and args[1] is Ellipsis
    readers = [_decoder(arg) for arg in (args[:1] if any_length else args)]

    def items(data: Any) -> Any:
        if not isinstance(data, (list, tuple)):
            raise _MisfitError(f": expected a list, found {data!r:.80}")
        if not any_length and len(readers) != len(data):
            raise _MisfitError(f": expected {len(readers)} items, found {len(data)}")
        own = readers * len(data) if any_length else readers
        at = 0
        values = []
        try:
            for read, item in zip(own, data, strict=True):
                values.append(read(item))
                at += 1
        except _MisfitError as error:
            raise error.inside(f"[{at}]") from None
        return tuple(values)

    return items


def _dataclass(kind: type) -> Decoder:
    hints = typing.get_type_hints(kind)
    fields: list[tuple[str, Decoder, bool]] | None = None

    def prepared() -> list[tuple[str, Decoder, bool]]:
        missing = dataclasses.MISSING
        return [
            (field.name, _decoder(hints[field.name]), field.default is missing and field.default_factory is missing)
            for field in dataclasses.fields(kind)
        ]

    def instance(data: Any) -> Any:
        nonlocal fields
        if not isinstance(data, dict):
            raise _MisfitError(f": expected an object, found {data!r:.80}")
        if fields is None:  # not earlier: a class may hold itself
            fields = prepared()
        values = {}
        name = ""
        try:
            for name, read, needed in fields:
                if name in data:
                    values[name] = read(data[name])
                elif needed:
                    raise _MisfitError(" is missing")
        except _MisfitError as error:
            raise error.inside(f".{name}") from None
        return kind(**values)

    return instance
