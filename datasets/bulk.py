"""Many records at once, into the store and out of it, without an object for each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import sqlalchemy as sa

from autotune.datasets import schema
from autotune.datasets.columns import Codes, Coding, Vector, segment_medians

_BATCH = 20_000
"""Rows that are handed to the data base at once."""
_ITSELF = {
    schema.profiles: ("signature", "lane", "identity", "notes", "samples_us", "failure_message"),
    schema.coruns: (
        "victim", "victim_lane", "beside", "beside_lane", "identity", "notes", "alone_us", "beside_us",
        "failure_message",
    ),
    schema.stages: (
        "model_sha256", "start", "stop", "kernels", "lane", "identity", "notes", "samples_us", "failure_message",
    ),
    schema.models: ("sha256",),
}  # fmt: skip
"""Columns in which two different records differ."""


def insert_kernels(connection: sa.Connection, kernels: Mapping[str, str]) -> None:
    """Insert kernels (signature -> JSON), none of which is there, in the caller's transaction."""
    for part in _batches({"signature": signature, "json": text} for signature, text in kernels.items()):
        connection.execute(schema.kernels.insert(), part)


def insert(
    connection: sa.Connection, table: sa.Table, values: Iterable[Mapping[str, Any]], *, devices: Collection[str]
) -> int:
    """Insert those rows that are not there yet; returns how many.

    Args:
        connection: in the caller's transaction.
        table: any but that of kernels.
        values: rows of it.
        devices: all devices that they name.
    """
    held = _held(connection, table, devices)
    added = 0
    for part in _batches(value for value in values if _unseen(held, _itself(table, value))):
        connection.execute(table.insert(), part)
        added += len(part)
    return added


def _held(connection: sa.Connection, table: sa.Table, devices: Collection[str]) -> set[tuple[Any, ...]]:
    """What makes a record itself, of all records of these devices; models are of none."""
    query = sa.select(*(table.c[name] for name in _ITSELF[table]))
    if "device" in table.c:
        query = query.where(table.c.device.in_(sorted(devices)))
    same: dict[Any, Any] = {}  # one object for each text: a lane stands in thousands of rows
    return {tuple(same.setdefault(cell, cell) for cell in row) for row in connection.execute(query)}


def _itself(table: sa.Table, value: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(value[name] for name in _ITSELF[table])


def _unseen(held: set[tuple[Any, ...]], value: tuple[Any, ...]) -> bool:
    """Whether a record is not among those held; it is from now on."""
    before = len(held)
    held.add(value)
    return len(held) > before


def _batches(values: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    rest = iter(values)
    while part := list(islice(rest, _BATCH)):
        yield part


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Measured rows of a device.

    Args:
        codings: of signatures, lanes, identities and notes.
        codes: [N, 4] into them.
        packed: [N] samples as they are stored.
        ordinals: [N] how many rows are before it.
        failures: rows without samples.
    """

    codings: tuple[Coding, Coding, Coding, Coding]
    codes: Codes
    packed: list[bytes]
    ordinals: Codes
    failures: int

    def medians_us(self) -> Vector:
        """Median of each row's samples; ValueError where they are none."""
        sizes = np.array([len(blob) for blob in self.packed], dtype=np.intp)
        if (sizes % 8).any() or not sizes.all():
            raise ValueError("samples that are no numbers")
        values = np.frombuffer(b"".join(self.packed), dtype="<f8").astype(np.float64, copy=False)
        if not (values > 0).all():
            raise ValueError("samples that are not positive")
        return segment_medians(values, np.repeat(np.arange(len(sizes)), sizes // 8), len(sizes))


def read(connection: sa.Connection, device: str) -> Found:
    """All rows of a device in the order they were made."""
    table = schema.profiles
    columns = (table.c.signature, table.c.lane, table.c.identity, table.c.notes, table.c.samples_us)
    query = sa.select(*columns).where(table.c.device == device).order_by(table.c.id)
    signature, lane, identity, note = codings = Coding(), Coding(), Coding(), Coding()
    codes: list[tuple[int, int, int, int]] = []
    packed: list[bytes] = []
    ordinals: list[int] = []
    failures = 0
    for own, where, who, how, blob in connection.execution_options(yield_per=_BATCH).execute(query):
        if blob is None:
            failures += 1
        else:
            codes.append((signature.code(own), lane.code(where), identity.code(who), note.code(how)))
            ordinals.append(len(packed) + failures)
            packed.append(blob)
    return Found(
        codings=codings,
        codes=np.array(codes, dtype=np.intp).reshape(-1, 4),
        packed=packed,
        ordinals=np.array(ordinals, dtype=np.intp),
        failures=failures,
    )
