"""Cells of exported Parquet files: what each column holds, and what is asked of the cells of those read row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from autotune.core import FailureKind, Notes
from autotune.core.codec import decode
from autotune.datasets import rows
from autotune.datasets.plausible import ABSURD_US, unit_problem
from autotune.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
TIMES = ("samples_us", "alone_us", "beside_us")
_HELD = (
    dict.fromkeys(TIMES, "lists of numbers")
    | dict.fromkeys(("victim", "victim_kernels", "beside", "beside_kernels", "kernels"), "lists of texts")
    | dict.fromkeys(("load_s", "predicted_us"), "numbers")
    | dict.fromkeys(("peak_bytes", "start", "stop", "bytes_in", "bytes_out"), "whole numbers")
)
"""What a column's cells are; those of others are texts."""


def schema_of(columns: Sequence[str]) -> pa.Schema:
    """Names and types of an exported file's columns."""
    import pyarrow as pa

    kinds = {
        "texts": pa.string(),
        "numbers": pa.float64(),
        "whole numbers": pa.int64(),
        "lists of texts": pa.list_(pa.string()),
        "lists of numbers": pa.list_(pa.float64()),
    }
    return pa.schema([(name, kinds[_HELD.get(name, "texts")]) for name in columns])


def cells_of(table: pa.Table, columns: Sequence[str], place: str) -> list[dict[str, Any]]:
    """The rows of a table, a mapping each.

    Args:
        table: as read.
        columns: those that are wanted.
        place: the file, for messages.

    Raises:
        StoreError: a column is of another type, or the times are in another unit.
    """
    import pyarrow as pa

    found: dict[str, list[Any]] = {}
    for field in schema_of(columns):
        try:
            found[field.name] = table[field.name].cast(field.type).to_pylist()
        except pa.ArrowException as error:
            held = _HELD.get(field.name, "texts")
            raise StoreError(f"{place}: the column {field.name} holds no {held} ({error}).") from error
    times = next((found[name] for name in TIMES if name in found), [])
    sound = [us for cell in times for us in cell or () if us is not None and us > 0 and np.isfinite(us)]
    problem = unit_problem(float(np.median(sound))) if sound else ""
    if problem:
        raise StoreError(f"{place}: read as microseconds, {problem}; nothing was imported.")
    return [dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)]


def read_cell(name: str, cells: Mapping[str, Any], read: Callable[[str], T]) -> T:
    """What a cell's text says.

    Raises:
        ValueError: it is empty or cannot be read; says which column.
    """
    if cells[name] is None:
        raise ValueError(f"{name}: an empty cell")
    try:
        return read(cells[name])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{name}: {error}") from error


def notes_text(text: str) -> str:
    """Notes in canonical JSON; ValueError where they are none."""
    return rows.to_json(decode(Notes, json.loads(text)))


def times_of(name: str, cells: Mapping[str, Any]) -> tuple[float, ...]:
    """Samples in µs; ValueError where they are no measurement."""
    values = cells[name] or []
    found = tuple(value for value in values if value is not None and value > 0)
    if not found or len(found) < len(values):
        raise ValueError(f"{name}: a measurement needs positive samples, got {tuple(values[:5])}")
    if max(found) >= ABSURD_US:
        raise ValueError(f"{name}: {max(found):g} µs is an hour or more: no latency")
    return found


def failure_of(cells: Mapping[str, Any]) -> tuple[FailureKind, str]:
    """Kind and message; ValueError where there is no such failure."""
    kind, message = cells["failure_kind"], cells["failure_message"]
    known = sorted(one.value for one in FailureKind)
    if kind not in known or message is None:
        raise ValueError(f"{kind!r} is no kind of failure with a message; known: {', '.join(known)}")
    return FailureKind(kind), message
