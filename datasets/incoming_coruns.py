"""Rows of co-run records from elsewhere: every one is checked before any is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from autotune.datasets import rows
from autotune.datasets.cells import cells_of, failure_of, notes_text, read_cell, times_of
from autotune.datasets.incoming import Incoming, RefusedRow, canonical_lane

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
CORUN_COLUMNS = (
    "victim", "victim_kernels", "victim_lane", "beside", "beside_kernels", "beside_lane", "identity", "notes",
    "alone_us", "beside_us", "failure_kind", "failure_message",
)  # fmt: skip


def check_coruns(table: pa.Table, place: str) -> Incoming:
    """Every row of a table with `CORUN_COLUMNS`.

    Args:
        table: as read.
        place: the file, for messages.

    Raises:
        StoreError: a column is of another type, or the times are in another unit.
    """
    reader, made, refused = _Reader(), [], []
    for at, cells in enumerate(cells_of(table, CORUN_COLUMNS, place)):
        try:
            made.append(reader.row(cells))
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
        self._texts: dict[tuple[str, Any], Any] = {}

    def row(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The row of the table `coruns`.

        Raises:
            ValueError: what is wrong with it, and where.
        """
        sides = [self._side(name, cells) for name in ("victim", "beside")]
        lanes = [self._read(name, cells, canonical_lane) for name in ("victim_lane", "beside_lane")]
        identity = self._read("identity", cells, rows.identity_of)
        notes = self._read("notes", cells, notes_text)
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
        key = name, cells[name]
        if key not in self._texts:
            self._texts[key] = read_cell(name, cells, read)
        found: T = self._texts[key]
        return found


def _result(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the result."""
    if cells["alone_us"] is None and cells["beside_us"] is None:
        kind, message = failure_of(cells)
        return {"alone_us": None, "beside_us": None, "failure_kind": kind.value, "failure_message": message}
    own, other = times_of("alone_us", cells), times_of("beside_us", cells)
    if len(own) != len(other):
        raise ValueError(f"{len(own)} rounds alone and {len(other)} beside other work: they are taken in pairs")
    packed = {"alone_us": rows.pack_samples(own), "beside_us": rows.pack_samples(other)}
    return packed | {"failure_kind": "", "failure_message": ""}
