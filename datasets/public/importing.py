"""Public tables in the home folder: imported as a whole or not at all, with a card, and checked again on demand.

A data set is a folder: `rows.parquet` (what was measured, in the table's own columns, with model and family),
`latencies.parquet` (row, device, processor, setting, precision, µs), `card.json`, and for operators `records.db`: a
store of profile records of those devices, for the predictors (`records_of`). Whole models are a table (`model_table`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.core import written_whole
from autotune.datasets.public.checking import Checked, RefusedCell, check
from autotune.datasets.public.records import RECORDS, Recorded, write_records
from autotune.datasets.public.registry import recognise, source
from autotune.datasets.public.source import Source
from autotune.datasets.store import Store
from autotune.errors import InputError, SchemaVersionError, StoreError

if TYPE_CHECKING:
    import pandas as pd

PUBLIC_SCHEMA_VERSION = 1
FILES = ("rows.parquet", "latencies.parquet")
_FIELDS: dict[str, type] = {
    "level": str, "source": str, "licence": str, "note": str, "imported": str, "unit_of_the_source": str,
    "rows": int, "models": int, "latencies": int, "empty": int, "refused": int, "refused_cells": list, "devices": list,
    "files": dict,
}  # fmt: skip
"""What a card is read for, and what it must be."""
_RECORDS_FIELDS: dict[str, type] = {
    "records": int,
    "kernels": int,
    "devices": list,
    "left_out_rows": dict,
    "lost": list,
}
_SHOWN = 1000
"""Refused cells that the card lists one by one; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicReport:
    """What an import did.

    Args:
        name: of the data set.
        folder: where it lies now.
        rows: of the table.
        latencies: imported.
        empty: cells that hold nothing.
        refused: cells that were not imported, and those that keep a row from becoming profile records.
        recorded: what became profile records; None for whole models.
    """

    name: str
    folder: Path
    rows: int
    latencies: int
    empty: int
    refused: tuple[RefusedCell, ...]
    recorded: Recorded | None = None

    def __str__(self) -> str:
        text = f"{self.name}: {self.latencies} latencies of {self.rows} rows, {self.empty} cells empty"
        if self.recorded is not None:
            text += f", {self.recorded.records} profile records of {self.recorded.kernels} kernels"
        text += f", {len(self.refused)} refused"
        return f"{text}, the first at {self.refused[0]}" if self.refused else text


def import_public(path: str | Path, home: Path, *, name: str = "", time: str | None = None) -> PublicReport:
    """Import a table; an earlier import of the same data set is replaced once the new one is complete.

    Args:
        path: Parquet, or CSV if it ends so.
        home: the home folder.
        name: of the data set; empty: recognised by the file's name or its columns.
        time: ISO 8601, UTC, for the card; None: now.

    Raises:
        InputError: the file cannot be read, is no known table, lacks columns, or is in another unit.
        UnknownNameError: there is no data set of this name.
        StoreError: the home folder cannot be written.
    """
    path = Path(path)
    table = read_table(path)
    chosen = source(name) if name else recognise(list(map(str, table.columns)), path.stem)
    checked = check(chosen, table)
    if checked.latencies.empty:
        first = f": the first at {checked.refused[0]}" if checked.refused else ""
        raise InputError(f"{path}: not one of its latencies can be used{first}; nothing was imported.")
    target = folder_of(home, chosen.name)
    try:
        with written_whole(target) as draft:  # also on Ctrl-C: half an import is none
            _described(chosen, table).to_parquet(draft / FILES[0], compression="zstd")
            checked.latencies.to_parquet(draft / FILES[1], compression="zstd")
            time = time or datetime.now(UTC).isoformat(timespec="seconds")
            recorded = write_records(chosen, table, checked.latencies, draft, time=time) if chosen.mapping else None
            refused = sorted((*checked.refused, *(recorded.refused if recorded else ())), key=lambda cell: cell.row)
            card = _card(chosen, table, checked, refused, draft, time)
            if recorded is not None:
                card["profile_records"] = recorded.card()
            (draft / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{target} cannot be written ({error}): make room, or set AUTOTUNE_HOME.") from error
    return PublicReport(
        name=chosen.name,
        folder=target,
        rows=len(table),
        latencies=len(checked.latencies),
        empty=checked.empty,
        refused=tuple(refused),
        recorded=recorded,
    )


def read_table(path: Path) -> pd.DataFrame:
    """A table as it is; InputError where it cannot be read."""
    import pandas as pd

    try:
        return pd.read_csv(path, low_memory=False) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as {path.suffix or 'Parquet'}: {error}") from error


def folder_of(home: Path, name: str) -> Path:
    """Where a data set lies once it is imported."""
    return home / "public" / name


def read_card(home: Path, name: str) -> dict[str, Any]:
    """The card of an imported data set.

    Raises:
        InputError: it was not imported.
        StoreError: its card is damaged; SchemaVersionError: written by a newer version.
    """
    path = folder_of(home, source(name).name) / "card.json"
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = int(card["schema_version"])
    except FileNotFoundError as error:
        raise InputError(f"{name} was not imported: `autotune datasets import FILE` does it.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r}): import {name} again.") from error
    if version > PUBLIC_SCHEMA_VERSION:
        raise SchemaVersionError(str(path), found=version, known=PUBLIC_SCHEMA_VERSION)
    lacking = _lacking(card, _FIELDS)
    if "profile_records" in card:
        lacking = lacking or _lacking(card["profile_records"], _RECORDS_FIELDS)
    if lacking:
        raise StoreError(f"{path} is damaged ({lacking}): import {name} again.")
    return card


def _lacking(card: Any, fields: Mapping[str, type]) -> str:
    """The first field that a card lacks or that is of another type; empty where none is."""
    if not isinstance(card, dict):
        return f"{card!r} is no table of fields"
    wrong = (name for name, kind in fields.items() if not isinstance(card.get(name), kind))
    return next((f"{name} is {card[name]!r}" if name in card else f"{name} is missing" for name in wrong), "")


def load_public(home: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and latencies of an imported data set; errors as of `read_card`, and StoreError if a file is damaged."""
    import pandas as pd

    read_card(home, name)
    folder = folder_of(home, name)
    try:
        rows, latencies = (pd.read_parquet(folder / file) for file in FILES)
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder} is damaged ({error}): import {name} again.") from error
    return rows, latencies


def model_table(home: Path, name: str) -> pd.DataFrame:
    """Latencies of whole models: row, model, device, processor, setting, precision, latency_us.

    `row` is that in the rows of `load_public`, for what else they say of a model. Errors as of `load_public`.

    Raises:
        InputError: the data set holds operators.
    """
    if source(name).level != "model":
        raise InputError(f"{name} holds operators, no whole models: their records are in `records_of`.")
    rows, latencies = load_public(home, name)
    models = rows["autotune_model"].to_numpy()[latencies["row"]]
    return latencies.drop(columns="column").assign(model=models)


def records_of(home: Path, name: str) -> Store:
    """The profile records of an imported table of operators: a store of its own, to be closed.

    Raises:
        InputError: it was not imported, or holds whole models.
        StoreError: it is damaged.
    """
    card = read_card(home, name)
    path = folder_of(home, name) / RECORDS
    if "profile_records" not in card:
        again = f"import {name} again" if source(name).mapping else "they cannot become records of kernels"
        raise InputError(f"{name} holds no profile records but latencies of {card['level']}s: {again}.")
    if not path.is_file():
        raise StoreError(f"{path} is missing: import {name} again.")
    return Store(f"sqlite:///{path}")


def verify(home: Path, name: str) -> list[str]:
    """What is wrong with an imported data set, empty if nothing is; errors as of `read_card`."""
    card, folder = read_card(home, name), folder_of(home, name)
    wrong = []
    for file in FILES:
        if not (folder / file).is_file():
            wrong.append(f"{folder / file} is missing")
        elif _sha256(folder / file) != card["files"].get(file):
            wrong.append(f"{folder / file} is not the file that was imported: its hash differs")
    if wrong:
        return wrong
    rows, latencies = load_public(home, name)
    counts = {"rows": len(rows), "latencies": len(latencies)}
    wrong += [f"{what}: {found}, the card says {card[what]}" for what, found in counts.items() if found != card[what]]
    if "profile_records" in card:
        with records_of(home, name) as store:
            unreadable = [f"{text} They are of a public table: import {name} again." for text in store.wrong()]
            said = card["profile_records"]["records"]
            found = said if unreadable else store.counts()["profiles"]
        wrong += unreadable
        if found != said:
            wrong.append(f"profile records: {found}, the card says {said}")
    if not latencies["row"].between(0, len(rows) - 1).all() or not (latencies["latency_us"] > 0).all():
        wrong.append("a latency belongs to no row, or is not positive")
    return wrong


def _described(chosen: Source, table: pd.DataFrame) -> pd.DataFrame:
    extra: dict[str, Any] = {"autotune_model": chosen.model_names(table)}
    if chosen.family is not None:
        extra["autotune_family"] = chosen.family(table)
    return table.assign(**extra)


def _card(
    chosen: Source, table: pd.DataFrame, checked: Checked, refused: list[RefusedCell], folder: Path, time: str
) -> dict[str, Any]:
    latencies = checked.latencies
    counted = latencies.groupby(["device", "processor"])["row"].size().reset_index(name="n")
    devices = zip(counted["device"], counted["processor"], counted["n"], strict=True)
    return {
        "schema_version": PUBLIC_SCHEMA_VERSION,
        "name": chosen.name,
        "level": chosen.level,
        "source": chosen.origin,
        "licence": chosen.licence,
        "unit": "us",
        "unit_of_the_source": chosen.unit,
        "note": chosen.note,
        "imported": time,
        "rows": len(table),
        "models": int(chosen.model_names(table[table[chosen.model].notna()]).nunique()),
        "latencies": len(latencies),
        "empty": checked.empty,
        "refused": len(refused),
        "refused_cells": [asdict(cell) for cell in refused[:_SHOWN]],
        "devices": [{"device": d, "processor": p, "latencies": int(n)} for d, p, n in devices],
        "files": {file: _sha256(folder / file) for file in FILES},
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
