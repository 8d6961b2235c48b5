"""Records and models as Parquet files with a card beside them, to hand to others and take from them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.datasets.cards import COLUMNS, LICENCE, card_path, make_card, part_path, read_card
from autotune.datasets.cells import schema_of
from autotune.datasets.incoming import Incoming, RefusedRow, check_rows
from autotune.datasets.incoming_coruns import CORUN_COLUMNS, check_coruns
from autotune.datasets.incoming_stages import MODEL_COLUMNS, STAGE_COLUMNS, check_models, check_stages
from autotune.datasets.outgoing import Row, corun_rows, model_rows, profile_rows, stage_rows
from autotune.datasets.store import Store
from autotune.errors import StoreError, UnknownNameError

if TYPE_CHECKING:
    import pyarrow as pa

PARTS: Mapping[str, tuple[Sequence[str], Callable[[pa.Table, str], Incoming]]] = {
    "coruns": (CORUN_COLUMNS, check_coruns),
    "stages": (STAGE_COLUMNS, check_stages),
    "models": (MODEL_COLUMNS, check_models),
}
"""What may lie beside the profile records, by the name of its table in the store: its columns and their check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """What an import did with the rows of a part; see `ImportReport`."""

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
        stages: likewise of stage records.
        models: likewise of models.
    """

    added: int
    known: int
    refused: tuple[RefusedRow, ...]
    coruns: PartReport | None = None
    stages: PartReport | None = None
    models: PartReport | None = None

    def __str__(self) -> str:
        parts = {"co-runs": self.coruns, "stages": self.stages, "models": self.models}
        return "\n".join([_counts(self), *(f"{name}: {part}" for name, part in parts.items() if part is not None)])


def _counts(report: ImportReport | PartReport) -> str:
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
    """Write all records (repeats too), the models whose kernels are among them, and a card; returns the card's path.

    Co-run records, stage records and models are in files beside it (`part_path`), where there are any. Existing files
    are replaced whole.

    Args:
        store: where the records are.
        path: the Parquet file to write.
        time: ISO 8601, UTC, for the card; None: now.
        device: only records of this device (`Device.id`).
        licence: for the card.

    Raises:
        StoreError: nothing to export, a folder as `path`, or the files cannot be written.
        UnknownNameError: no records of this device.
    """
    path = Path(path)
    if path.is_dir():
        raise StoreError(f"{path} is a folder: name the file to write, for instance {path / 'records.parquet'}")
    records = store.kernels(device=device, latest=False)
    coruns = store.coruns(device=device, latest=False)
    stages = store.stages(device=device)
    if not records and not coruns and not stages:
        if device is not None and store.devices():
            raise UnknownNameError("device", device, known=store.devices())
        raise StoreError(f"{store.place} holds no profile records to export: run `autotune profile` first.")
    rows = {"": list(profile_rows(records)), "coruns": list(corun_rows(coruns)), "stages": list(stage_rows(stages))}
    exported = {row["signature"] for row in rows[""]}.union(*(record.kernels for record in stages))
    models = {sha: one for sha, one in store.models().items() if not exported.isdisjoint(one[1])}
    rows["models"] = list(model_rows(models))
    stamp = time or datetime.now(UTC).isoformat(timespec="seconds")
    names = [name for name, _ in models.values()]
    card = make_card(records, coruns, stages, names, time=stamp, licence=licence)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(_tables(path, rows))
        for part in PARTS.keys() - card.keys():
            part_path(path, part).unlink(missing_ok=True)  # of an earlier export
        card_path(path).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}): name a path in a writable folder.") from error
    return card_path(path)


def import_parquet(store: Store, path: str | Path) -> ImportReport:
    """Add what the files hold that `export_parquet` wrote: all that is sound, in one transaction.

    Every row is checked, and the refused ones are in the report. Records that are there already, or stand twice in a
    file, are not doubled; they count as known, as do models of a hash that is there. A million rows take about a minute
    (`benchmarks/scale.py`).

    Raises:
        StoreError: a file or the card is missing, damaged or of another form; nothing was added.
        SchemaVersionError: it was written by a newer version.
    """
    path = Path(path)
    card = read_card(path)
    found = {"profiles": check_rows(_read_table(path, COLUMNS), str(path))}
    for part, (columns, check) in PARTS.items():
        if card.get(part):
            beside = part_path(path, part)
            found[part] = check(_read_table(beside, columns), str(beside))
    added = store.add_rows(
        {signature: text for one in found.values() for signature, text in one.kernels.items()},
        {table: one.rows for table, one in found.items()},
        devices={device for one in found.values() for device in one.devices},
    )
    reports = {
        table: PartReport(added=added[table], known=one.count - added[table], refused=one.refused)
        for table, one in found.items()
    }
    own = reports.pop("profiles")
    return ImportReport(added=own.added, known=own.known, refused=own.refused, **reports)


def _tables(path: Path, rows: Mapping[str, Sequence[Row]]) -> dict[Path, pa.Table]:
    """By file, the profile records and every part that has rows."""
    import pyarrow as pa

    tables = {path: pa.Table.from_pylist(list(rows[""]), schema=schema_of(COLUMNS))}
    for part, (columns, _) in PARTS.items():
        if rows[part]:
            tables[part_path(path, part)] = pa.Table.from_pylist(list(rows[part]), schema=schema_of(columns))
    return tables


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
