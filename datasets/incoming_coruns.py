"""Rows of co-run records from elsewhere: every one is checked before any is stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from autotune.core import FailureKind, Notes
from autotune.core.codec import decode
from autotune.datasets import rows
from autotune.datasets.incoming import Incoming, RefusedRow, canonical_lane
from autotune.datasets.plausible import ABSURD_US, unit_problem
from autotune.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
CORUN_COLUMNS = (
    "victim", "victim_kernels", "victim_lane", "beside", "beside_kernels", "beside_lane", "identity", "notes",
    "alone_us", "beside_us", "failure_kind", "failure_message",
)  # fmt: skip
LISTS = ("victim", "victim_kernels", "beside", "beside_kernels")
TIMES = ("alone_us", "beside_us")


def check_coruns(table: pa.Table, place: str) -> Incoming:
    """Every row of a table with `CORUN_COLUMNS`.

    Args:
        table: as read.
        place: the file, for messages.

    Raises:
        StoreError: a column is of another type, or the times are in another unit.
    """
    import pyarrow as pa

    text, numbers = pa.large_string(), pa.large_list(pa.float64())
    columns = {}
    for name in CORUN_COLUMNS:
        kind = numbers if name in TIMES else pa.large_list(text) if name in LISTS else text
        try:
            columns[name] = table[name].cast(kind).to_pylist()
        except pa.ArrowException as error:
            held = "lists of numbers" if name in TIMES else "lists of texts" if name in LISTS else "texts"
            raise StoreError(f"{place}: the column {name} holds no {held} ({error}).") from error
    _check_unit(columns["alone_us"], place)
    reader, made, refused = _Reader(), [], []
    for at in range(table.num_rows):
        try:
            made.append(reader.row({name: cells[at] for name, cells in columns.items()}))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            refused.append(RefusedRow(row=at, reason=f"{error}" or "unreadable"))
    return Incoming(
        kernels=reader.used,
        rows=iter(made),
        devices=tuple(sorted({row["device"] for row in made})),
        count=len(made),
        refused=tuple(refused),
    )


class _Reader:
    """Reads rows, each distinct text once."""

    def __init__(self) -> None:
        self.used: dict[str, str] = {}
        """Kernels of the rows that were sound: signature -> canonical JSON."""
        self._kernels: dict[str, tuple[str, str]] = {}
        self._texts: dict[tuple[str, str], Any] = {}

    def row(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The row of the table `coruns`.

        Raises:
            ValueError: what is wrong with it, and where.
        """
        sides = [self._side(name, cells) for name in ("victim", "beside")]
        lanes = [self._read(name, cells, canonical_lane) for name in ("victim_lane", "beside_lane")]
        identity = self._read("identity", cells, rows.identity_of)
        notes = self._read("notes", cells, lambda text: rows.to_json(decode(Notes, json.loads(text))))
        result = _result(cells)
        for side in sides:
            self.used.update(side)
        return {
            "victim": rows.signatures_text(cells["victim"]),
            "victim_lane": lanes[0],
            "beside": rows.signatures_text(cells["beside"]),
            "beside_lane": lanes[1],
            "device": identity.device,
            "identity": rows.identity_json(identity),
            "notes": notes,
        } | result

    def _side(self, name: str, cells: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Signatures with the kernels that they name."""
        signatures, texts = cells[name], cells[f"{name}_kernels"]
        if not signatures or not texts or len(signatures) != len(texts):
            given = [len(cell or ()) for cell in (signatures, texts)]
            raise ValueError(f"{name}: {given[0]} signatures of {given[1]} kernels; each kernel needs one")
        found = []
        for signature, text in zip(signatures, texts, strict=True):
            if text is None:
                raise ValueError(f"{name}_kernels: an empty cell")
            if text not in self._kernels:
                try:
                    canonical = rows.to_json(rows.kernel_of(text))
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise ValueError(f"{name}_kernels: {error}") from error
                self._kernels[text] = hashlib.sha256(canonical.encode()).hexdigest()[:32], canonical
            if self._kernels[text][0] != signature:
                raise ValueError(f"{name}: the kernel is not the one that its signature {signature} names")
            found.append(self._kernels[text])
        return found

    def _read(self, name: str, cells: Mapping[str, Any], read: Callable[[str], T]) -> T:
        text = cells[name]
        if text is None:
            raise ValueError(f"{name}: an empty cell")
        if (name, text) not in self._texts:
            try:
                self._texts[name, text] = read(text)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"{name}: {error}") from error
        found: T = self._texts[name, text]
        return found


def _result(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the result."""
    alone, beside = cells["alone_us"], cells["beside_us"]
    if alone is None and beside is None:
        kind, message = cells["failure_kind"], cells["failure_message"]
        known = sorted(one.value for one in FailureKind)
        if kind not in known or message is None:
            raise ValueError(f"{kind!r} is no kind of failure with a message; known: {', '.join(known)}")
        return {"alone_us": None, "beside_us": None, "failure_kind": kind, "failure_message": message}
    own, other = (_times(name, cells[name] or []) for name in TIMES)
    if len(own) != len(other):
        raise ValueError(f"{len(own)} rounds alone and {len(other)} beside other work: they are taken in pairs")
    packed = {"alone_us": rows.pack_samples(own), "beside_us": rows.pack_samples(other)}
    return packed | {"failure_kind": "", "failure_message": ""}


def _times(name: str, values: Sequence[float | None]) -> tuple[float, ...]:
    found = tuple(value for value in values if value is not None and value > 0)
    if not found or len(found) < len(values):
        raise ValueError(f"{name}: a measurement needs positive samples, got {tuple(values[:5])}")
    if max(found) >= ABSURD_US:
        raise ValueError(f"{name}: {max(found):g} µs is an hour or more: no latency")
    return found


def _check_unit(cells: list[list[float | None] | None], place: str) -> None:
    sound = [us for cell in cells for us in cell or () if us is not None and us > 0 and np.isfinite(us)]
    problem = unit_problem(float(np.median(sound))) if sound else ""
    if problem:
        raise StoreError(f"{place}: read as microseconds, {problem}; nothing was imported.")
