"""Whether a data base still holds what was written: SQLite's own check, then every row decoded."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

import sqlalchemy as sa

from autotune.core import Kernel
from autotune.datasets import rows, schema
from autotune.datasets.connect import explain

Read = Callable[[Any], object]
_AT_ONCE = 1000
_SHOWN = 3
"""Findings of SQLite that are shown: one bad page has hundreds."""


def wrong_rows(connection: sa.Connection, place: str) -> list[str]:
    """What is wrong with a data base, one line for each table; empty if nothing is.

    Args:
        connection: for reading.
        place: what a message calls the data base.
    """
    damage = _damage(connection)
    if damage:
        return [explain(place, f"malformed: {'; '.join(damage)}")]
    kernels: dict[str, Kernel] = {}

    def keep(row: sa.RowMapping) -> None:
        kernels[row["signature"]] = _kernel(row)

    readers: dict[sa.Table, Read] = {
        schema.kernels: keep,
        schema.profiles: lambda row: rows.profile_of(row, kernels[row["signature"]]),
        schema.stages: rows.stage_of,
        schema.coruns: lambda row: rows.corun_of(row, kernels),
        schema.models: lambda row: tuple(json.loads(row["kernels"])),
    }
    found = (_unreadable(connection, table, read) for table, read in readers.items())
    return [f"{place}: {text}: the file is damaged; move it away and measure again." for text in found if text]


def _damage(connection: sa.Connection) -> list[str]:
    """What SQLite finds; other data bases check themselves."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalars()
    return [" ".join(text.split()) for text in islice(found, _SHOWN) if text != "ok"]


def _kernel(row: sa.RowMapping) -> Kernel:
    kernel = rows.kernel_of(row["json"])
    if kernel.signature != row["signature"]:
        raise ValueError(f"the kernel is not the one that its signature {row['signature']} names")
    return kernel


def _unreadable(connection: sa.Connection, table: sa.Table, read: Read) -> str:
    """How many rows of a table cannot be decoded, and the first of them; empty where all can."""
    (key,) = table.primary_key.columns
    total, wrong = 0, []
    for row in connection.execute(sa.select(table).execution_options(yield_per=_AT_ONCE)).mappings():
        total += 1
        try:
            read(row)
        except (ValueError, TypeError, KeyError) as error:
            wrong.append(f"{key.name} {row[key.name]} ({error!r})")
    return f"{len(wrong)} of {total} rows of {table.name} cannot be read, the first is {wrong[0]}" if wrong else ""
