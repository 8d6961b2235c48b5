"""Latencies that others published: importers behind one registry, cards, checks. Code only; the user has the data."""

from autotune.datasets.public.checking import Checked, RefusedCell, check
from autotune.datasets.public.importing import (
    PUBLIC_SCHEMA_VERSION,
    PublicReport,
    import_public,
    load_public,
    model_table,
    read_card,
    records_of,
    verify,
)
from autotune.datasets.public.records import Recorded, device_id
from autotune.datasets.public.registry import SOURCES, source
from autotune.datasets.public.source import Source

__all__ = [
    "PUBLIC_SCHEMA_VERSION",
    "SOURCES",
    "Checked",
    "PublicReport",
    "Recorded",
    "RefusedCell",
    "Source",
    "check",
    "device_id",
    "import_public",
    "load_public",
    "model_table",
    "read_card",
    "records_of",
    "source",
    "verify",
]
