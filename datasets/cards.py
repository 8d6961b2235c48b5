"""The card beside an exported Parquet file: what it holds, in which units, under which licence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.core import CoRunMeasurement, CoRunRecord, Measurement, ProfileRecord, StageRecord
from autotune.datasets.incoming_coruns import CORUN_COLUMNS
from autotune.datasets.incoming_stages import MODEL_COLUMNS, STAGE_COLUMNS
from autotune.errors import SchemaVersionError, StoreError

PARQUET_SCHEMA_VERSION = 3
"""Since 2 there are co-runs, since 3 stages and models."""
COLUMNS = (
    "signature", "kernel", "lane", "identity", "notes", "samples_us", "load_s", "peak_bytes", "failure_kind",
    "failure_message",
)  # fmt: skip
UNITS = {"samples_us": "microseconds", "load_s": "seconds", "peak_bytes": "bytes"}
PART_UNITS: Mapping[str, Mapping[str, str]] = {
    "coruns": {"alone_us": "microseconds", "beside_us": "microseconds"},
    "stages": UNITS | {"predicted_us": "microseconds", "bytes_in": "bytes", "bytes_out": "bytes"},
    "models": {},
}
"""Of what may lie beside the profile records, each part in a file of its own that the card names."""
LICENCE = "not stated: add the licence under which these measurements may be used before passing them on"


def card_path(path: Path) -> Path:
    """The card of a Parquet file: `records.parquet` -> `records.card.json`."""
    return path.with_suffix(".card.json")


def part_path(path: Path, part: str) -> Path:
    """Where a part of `PART_UNITS` is: `records.parquet` -> `records.coruns.parquet`."""
    return path.with_suffix(f".{part}.parquet")


def make_card(
    records: Sequence[ProfileRecord],
    coruns: Sequence[CoRunRecord],
    stages: Sequence[StageRecord],
    models: Sequence[str],
    *,
    time: str,
    licence: str,
) -> dict[str, Any]:
    """The card of an export; it says nothing of parts that are empty.

    Args:
        records: in the file.
        coruns: in one beside it.
        stages: likewise.
        models: names of those whose kernels are listed in another.
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
    parts: dict[str, dict[str, Any]] = {
        "coruns": {
            "what": "times of kernels and stages on one lane, alone and while another lane is busy; rounds in pairs",
            "devices": _counted([record.identity.device for record in coruns]),
            "lanes": _counted([f"{record.victim_lane} beside {record.beside_lane}" for record in coruns]),
            "records": len(coruns),
            "failures": sum(not isinstance(record.result, CoRunMeasurement) for record in coruns),
            "columns": list(CORUN_COLUMNS),
        },
        "stages": {
            "what": "latencies of stages and whole models, and the squared relative error that they add to outputs",
            "devices": _counted([record.identity.device for record in stages]),
            "lanes": _counted([str(record.lane) for record in stages]),
            "records": len(stages),
            "failures": sum(not isinstance(record.result, Measurement) for record in stages),
            "columns": list(STAGE_COLUMNS),
        },
        "models": {
            "what": "which kernels a model consists of, or were drawn from one: what an evaluation leaves out together",
            "names": sorted(models),
            "records": len(models),
            "columns": list(MODEL_COLUMNS),
        },
    }
    return card | {name: part | {"units": PART_UNITS[name]} for name, part in parts.items() if part["records"]}


def read_card(path: Path) -> dict[str, Any]:
    """The card of a file that is to be imported; an older one has fewer parts.

    Raises:
        StoreError: it is missing, damaged or in other units.
        SchemaVersionError: it was written by a newer version.
    """
    card = card_path(path)
    try:
        found: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
        version = found["schema_version"]
        units: list[tuple[Any, Mapping[str, str]]] = [(found.get("units", UNITS), UNITS)]
        units += [(found[part].get("units", own), own) for part, own in PART_UNITS.items() if found.get(part)]
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
