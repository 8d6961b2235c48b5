"""Latencies that others published: importers behind one registry, cards, checks. Code only; the user has the data."""

from autotune.datasets.public.checking import Checked, RefusedCell, check
from autotune.datasets.public.importing import (
    PUBLIC_SCHEMA_VERSION,
    PublicReport,
    import_public,
    load_public,
    read_card,
    verify,
)
from autotune.datasets.public.registry import SOURCES, source
from autotune.datasets.public.source import Source

__all__ = [
    "PUBLIC_SCHEMA_VERSION",
    "SOURCES",
    "Checked",
    "PublicReport",
    "RefusedCell",
    "Source",
    "check",
    "import_public",
    "load_public",
    "read_card",
    "source",
    "verify",
]
