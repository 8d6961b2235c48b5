"""Profile records as Parquet files with a card beside them, to hand to others and take from them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.core import Measurement, ProfileRecord
from autotune.datasets import rows
from autotune.datasets.incoming import RefusedRow, check_rows
from autotune.datasets.store import Store
from autotune.errors import SchemaVersionError, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_SCHEMA_VERSION = 1
COLUMNS = (
    "signature", "kernel", "lane", "identity", "notes", "samples_us", "load_s", "peak_bytes", "failure_kind",
    "failure_message",
)  # fmt: skip
UNITS = {"samples_us": "microseconds", "load_s": "seconds", "peak_bytes": "bytes"}
LICENCE = "not stated: add the licence under which these measurements may be used before passing them on"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did: records added, records that were there already, rows refused."""

    added: int
    known: int
    refused: tuple[RefusedRow, ...]

    def __str__(self) -> str:
        text = f"{self.added} records added, {self.known} known already, {len(self.refused)} refused"
        first = self.refused[0] if self.refused else None
        return text if first is None else f"{text}, the first in row {first.row}: {first.reason}"


def card_path(path: Path) -> Path:
    """The card of a Parquet file: `records.parquet` -> `records.card.json`."""
    return path.with_suffix(".card.json")


def export_parquet(
    store: Store, path: str | Path, *, time: str | None = None, device: str | None = None, licence: str = LICENCE
) -> Path:
    """Write all profile records (repeats too) and a card; returns the card's path. Existing files are replaced whole.

    Args:
        store: where the records are.
        path: the Parquet file to write.
        time: ISO 8601, UTC, for the card; None: now.
        device: only records of this device (`Device.id`).
        licence: for the card.

    Raises:
        StoreError: nothing to export, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    records = store.kernels(device=device, latest=False)
    if not records:
        raise StoreError(f"{store.place} holds no profile records to export: run `autotune profile` first.")
    table = pa.Table.from_pylist(list(_rows(records)), schema=_arrow_schema())
    card = _card(records, time=time or datetime.now(UTC).isoformat(timespec="seconds"), licence=licence)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + f".{os.getpid()}.part")
        pq.write_table(table, draft, compression="zstd")
        draft.replace(path)
        card_path(path).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}): name a path in a writable folder.") from error
    return card_path(path)


def import_parquet(store: Store, path: str | Path) -> ImportReport:
    """Add the records of a file that `export_parquet` wrote: all that are sound, in one transaction.

    Every row is checked, and the refused ones are in the report. Records that are there already, or stand twice in the
    file, are not doubled; they count as known. A million rows take about a minute (`benchmarks/scale.py`).

    Raises:
        StoreError: the file or its card is missing, damaged or of another form; nothing was added.
        SchemaVersionError: it was written by a newer version.
    """
    path = Path(path)
    _read_card(path)
    incoming = check_rows(_read_table(path), str(path))
    added = store.add_rows(incoming.kernels, incoming.rows, devices=incoming.devices)
    return ImportReport(added=added, known=incoming.count - added, refused=incoming.refused)


def _arrow_schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"samples_us": pa.list_(pa.float64()), "load_s": pa.float64(), "peak_bytes": pa.int64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


def _rows(records: Iterable[ProfileRecord]) -> Iterator[dict[str, Any]]:
    texts: dict[int, tuple[str, str]] = {}
    for record in records:
        if id(record.kernel) not in texts:
            texts[id(record.kernel)] = (record.kernel.signature, rows.to_json(record.kernel))
        signature, text = texts[id(record.kernel)]
        row = rows.profile_row(record, signature) | {"kernel": text}
        row["samples_us"] = list(record.result.samples_us) if isinstance(record.result, Measurement) else None
        yield {name: row[name] for name in COLUMNS}


def _card(records: list[ProfileRecord], *, time: str, licence: str) -> dict[str, Any]:
    return {
        "schema_version": PARQUET_SCHEMA_VERSION,
        "what": "latencies of single kernels, measured by autotune; one row per measurement or failure",
        "time": time,
        "devices": dict(sorted(Counter(record.identity.device for record in records).items())),
        "lanes": dict(sorted(Counter(str(record.lane) for record in records).items())),
        "records": len(records),
        "kernels": len({id(record.kernel) for record in records}),
        "failures": sum(not isinstance(record.result, Measurement) for record in records),
        "units": UNITS,
        "columns": list(COLUMNS),
        "licence": licence,
    }


def _read_card(path: Path) -> None:
    card = card_path(path)
    try:
        known = json.loads(card.read_text(encoding="utf-8"))
        version, units = known["schema_version"], known.get("units", UNITS)
    except FileNotFoundError as error:
        raise StoreError(f"{card} is missing: `export_parquet` writes it beside the data; copy both.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{card} is not a card that can be read ({error!r}): export the records again.") from error
    if not isinstance(version, int) or version < 1:
        raise StoreError(f"{card} has the schema version {version!r}, which never existed: export the records again.")
    if version > PARQUET_SCHEMA_VERSION:
        raise SchemaVersionError(str(card), found=version, known=PARQUET_SCHEMA_VERSION, cure="export it anew")
    if units != UNITS:
        raise StoreError(f"{card} gives the units {units}, these records have {UNITS}: export them again.")


def _read_table(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} is not a Parquet file that can be read ({error}).") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise StoreError(f"{path} lacks the columns {', '.join(missing)}: it is no export of autotune.")
    return table.select(list(COLUMNS))
