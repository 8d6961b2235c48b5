"""Profile and co-run records as Parquet files with a card beside them, to hand to others and take from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.core import CoRunMeasurement, CoRunRecord, Kernel, Measurement, ProfileRecord
from autotune.datasets import rows
from autotune.datasets.cards import COLUMNS, LICENCE, card_path, coruns_path, make_card, read_card
from autotune.datasets.incoming import RefusedRow, check_rows
from autotune.datasets.incoming_coruns import CORUN_COLUMNS, LISTS, TIMES, check_coruns
from autotune.datasets.store import Store
from autotune.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class CoRunReport:
    """What an import did with co-run records, whose rows are in a file of their own; see `ImportReport`."""

    added: int
    known: int
    refused: tuple[RefusedRow, ...]

    def __str__(self) -> str:
        return _counts(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did: records added, records that were there already, rows refused.

    Args:
        added: profile records.
        known: likewise.
        refused: rows of the file.
        coruns: the same of co-run records; None where the export has none.
    """

    added: int
    known: int
    refused: tuple[RefusedRow, ...]
    coruns: CoRunReport | None = None

    def __str__(self) -> str:
        return _counts(self) if self.coruns is None else f"{_counts(self)}\nco-runs: {self.coruns}"


def _counts(report: ImportReport | CoRunReport) -> str:
    text = f"{report.added} records added, {report.known} known already, {len(report.refused)} refused"
    first = report.refused[0] if report.refused else None
    return text if first is None else f"{text}, the first in row {first.row}: {first.reason}"


def is_export(path: Path) -> bool:
    """Whether a file holds profile records, no public table: by its card, or by its columns if that is lost."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if card_path(path).exists():
        return True
    try:
        return set(COLUMNS) <= set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return False


def export_parquet(
    store: Store, path: str | Path, *, time: str | None = None, device: str | None = None, licence: str = LICENCE
) -> Path:
    """Write all profile and co-run records (repeats too) and a card; returns the card's path.

    Co-run records are in a file beside it (`coruns_path`), where there are any. Existing files are replaced whole.

    Args:
        store: where the records are.
        path: the Parquet file to write.
        time: ISO 8601, UTC, for the card; None: now.
        device: only records of this device (`Device.id`).
        licence: for the card.

    Raises:
        StoreError: nothing to export, or the files cannot be written.
    """
    import pyarrow as pa

    path = Path(path)
    records = store.kernels(device=device, latest=False)
    coruns = store.coruns(device=device, latest=False)
    if not records and not coruns:
        raise StoreError(f"{store.place} holds no profile records to export: run `autotune profile` first.")
    tables = {path: pa.Table.from_pylist(list(_rows(records)), schema=_arrow_schema())}
    if coruns:
        tables[coruns_path(path)] = pa.Table.from_pylist(list(_corun_rows(coruns)), schema=_corun_schema())
    card = make_card(records, coruns, time=time or datetime.now(UTC).isoformat(timespec="seconds"), licence=licence)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(tables)
        if not coruns:
            coruns_path(path).unlink(missing_ok=True)  # of an earlier export
        card_path(path).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}): name a path in a writable folder.") from error
    return card_path(path)


def import_parquet(store: Store, path: str | Path) -> ImportReport:
    """Add the records of files that `export_parquet` wrote: all that are sound, in one transaction.

    Every row is checked, and the refused ones are in the report. Records that are there already, or stand twice in a
    file, are not doubled; they count as known. A million rows take about a minute (`benchmarks/scale.py`).

    Raises:
        StoreError: a file or the card is missing, damaged or of another form; nothing was added.
        SchemaVersionError: it was written by a newer version.
    """
    path, beside = Path(path), coruns_path(Path(path))
    card = read_card(path)
    incoming = check_rows(_read_table(path, COLUMNS), str(path))
    coruns = check_coruns(_read_table(beside, CORUN_COLUMNS), str(beside)) if card.get("coruns") else None
    own, others = store.add_rows(
        incoming.kernels | (coruns.kernels if coruns else {}),
        incoming.rows,
        devices={*incoming.devices, *(coruns.devices if coruns else ())},
        coruns=coruns.rows if coruns else (),
    )
    return ImportReport(
        added=own,
        known=incoming.count - own,
        refused=incoming.refused,
        coruns=CoRunReport(added=others, known=coruns.count - others, refused=coruns.refused) if coruns else None,
    )


def _write(tables: dict[Path, pa.Table]) -> None:
    """All files or none: drafts first, then each in its place."""
    import pyarrow.parquet as pq

    drafts = {path: path.with_name(path.name + f".{os.getpid()}.part") for path in tables}
    try:
        for path, table in tables.items():
            pq.write_table(table, drafts[path], compression="zstd")
        for path, draft in drafts.items():
            draft.replace(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _arrow_schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"samples_us": pa.list_(pa.float64()), "load_s": pa.float64(), "peak_bytes": pa.int64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


def _corun_schema() -> pa.Schema:
    import pyarrow as pa

    kinds = dict.fromkeys(LISTS, pa.list_(pa.string())) | dict.fromkeys(TIMES, pa.list_(pa.float64()))
    return pa.schema([(name, kinds.get(name, pa.string())) for name in CORUN_COLUMNS])


class _Kernels:
    """Signatures and JSON of kernels, each worked out once."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[Kernel, str, str]] = {}

    def of(self, kernel: Kernel) -> tuple[str, str]:
        if id(kernel) not in self._texts:
            self._texts[id(kernel)] = kernel, kernel.signature, rows.to_json(kernel)
        return self._texts[id(kernel)][1:]


def _rows(records: Iterable[ProfileRecord]) -> Iterator[dict[str, Any]]:
    kernels = _Kernels()
    for record in records:
        signature, text = kernels.of(record.kernel)
        row = rows.profile_row(record, signature) | {"kernel": text}
        row["samples_us"] = list(record.result.samples_us) if isinstance(record.result, Measurement) else None
        yield {name: row[name] for name in COLUMNS}


def _corun_rows(records: Iterable[CoRunRecord]) -> Iterator[dict[str, Any]]:
    kernels = _Kernels()
    for record in records:
        sides = {"victim": record.victim, "beside": record.beside}
        texts = {name: list(map(kernels.of, side)) for name, side in sides.items()}
        row = rows.corun_row(record, (), ())
        for name, own in texts.items():
            row[name], row[f"{name}_kernels"] = [one[0] for one in own], [one[1] for one in own]
        if isinstance(record.result, CoRunMeasurement):
            row |= {"alone_us": list(record.result.alone_us), "beside_us": list(record.result.beside_us)}
        yield {name: row[name] for name in CORUN_COLUMNS}


def _read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing: `export_parquet` writes it beside the card; copy all files.") from error
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} is not a Parquet file that can be read ({error}).") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise StoreError(f"{path} lacks the columns {', '.join(missing)}: it is no export of autotune.")
    return table.select(list(columns))
