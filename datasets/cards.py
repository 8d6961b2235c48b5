"""The card beside an exported Parquet file: what it holds, in which units, under which licence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.core import CoRunMeasurement, CoRunRecord, Measurement, ProfileRecord
from autotune.datasets.incoming_coruns import CORUN_COLUMNS
from autotune.errors import SchemaVersionError, StoreError

PARQUET_SCHEMA_VERSION = 2
COLUMNS = (
    "signature", "kernel", "lane", "identity", "notes", "samples_us", "load_s", "peak_bytes", "failure_kind",
    "failure_message",
)  # fmt: skip
UNITS = {"samples_us": "microseconds", "load_s": "seconds", "peak_bytes": "bytes"}
CORUN_UNITS = {"alone_us": "microseconds", "beside_us": "microseconds"}
LICENCE = "not stated: add the licence under which these measurements may be used before passing them on"


def card_path(path: Path) -> Path:
    """The card of a Parquet file: `records.parquet` -> `records.card.json`."""
    return path.with_suffix(".card.json")


def coruns_path(path: Path) -> Path:
    """Where its co-run records are: `records.parquet` -> `records.coruns.parquet`."""
    return path.with_suffix(".coruns.parquet")


def make_card(
    records: Sequence[ProfileRecord], coruns: Sequence[CoRunRecord], *, time: str, licence: str
) -> dict[str, Any]:
    """The card of an export.

    Args:
        records: in the file.
        coruns: in the one beside it; the card says nothing of it where there are none.
        time: ISO 8601, UTC.
        licence: under which the measurements may be used.
    """
    card = {
        "schema_version": PARQUET_SCHEMA_VERSION,
        "what": "latencies of single kernels, measured by autotune; one row per measurement or failure",
        "time": time,
        "devices": _counted([record.identity.device for record in records]),
        "lanes": _counted([str(record.lane) for record in records]),
        "records": len(records),
        "kernels": len({id(record.kernel) for record in records}),
        "failures": sum(not isinstance(record.result, Measurement) for record in records),
        "units": UNITS,
        "columns": list(COLUMNS),
        "licence": licence,
    }
    if coruns:
        card["coruns"] = {
            "what": "times of kernels and stages on one lane, alone and while another lane is busy; rounds in pairs",
            "devices": _counted([record.identity.device for record in coruns]),
            "lanes": _counted([f"{record.victim_lane} beside {record.beside_lane}" for record in coruns]),
            "records": len(coruns),
            "failures": sum(not isinstance(record.result, CoRunMeasurement) for record in coruns),
            "units": CORUN_UNITS,
            "columns": list(CORUN_COLUMNS),
        }
    return card


def read_card(path: Path) -> dict[str, Any]:
    """The card of a file that is to be imported; one of version 1 has no co-runs.

    Raises:
        StoreError: it is missing, damaged or in other units.
        SchemaVersionError: it was written by a newer version.
    """
    card = card_path(path)
    try:
        found: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
        version = found["schema_version"]
        units = [(found.get("units", UNITS), UNITS)]
        if found.get("coruns") is not None:
            units.append((found["coruns"].get("units", CORUN_UNITS), CORUN_UNITS))
    except FileNotFoundError as error:
        raise StoreError(f"{card} is missing: `export_parquet` writes it beside the data; copy both.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{card} is not a card that can be read ({error!r}): export the records again.") from error
    if not isinstance(version, int) or version < 1:
        raise StoreError(f"{card} has the schema version {version!r}, which never existed: export the records again.")
    if version > PARQUET_SCHEMA_VERSION:
        raise SchemaVersionError(str(card), found=version, known=PARQUET_SCHEMA_VERSION, cure="export it anew")
    for given, own in units:
        if given != own:
            raise StoreError(f"{card} gives the units {given}, these records have {own}: export them again.")
    return found


def _counted(names: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
