"""What an importer of a public table says about it: where it comes from, and which of its cells are latencies."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping as Mapped
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.core import FAMILIES
from autotune.datasets.public.operators import Described

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("kernel", "model", "transfer")
UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}
PROCESSORS = ("cpu", "gpu", "npu", "accelerator")
LARGEST = 2**31 - 1
"""No size of an operator is beyond."""
LATENCIES = ("row", "column", "device", "processor", "setting", "precision", "latency")
"""Columns of what `Source.latencies` gives: `row` counts the table's rows from 0, `column` is where the value stood,
`setting` says runtime, threads, cores or batch where the table does, `latency` is in the table's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """How rows of a table become profile records.

    Args:
        describe: row -> its operator, or why the columns do not say which it is.
        engine: row -> what ran it (`tflite`); with the processor it names the lane's processor, `tflite:gpu`.
        lost: what the records do not hold, or what was taken for granted, as sentences for the card.
        lane: setting of a latency -> (threads, options of the lane).
    """

    describe: Callable[[dict[str, Any]], Described | str]
    engine: Callable[[dict[str, Any]], str]
    lost: tuple[str, ...]
    lane: Callable[[str], tuple[int, tuple[tuple[str, str], ...]]] = lambda _: (0, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One public table.

    Args:
        name: in the registry; also the file's name without its ending.
        level: `kernel`, `model` or `transfer` (of a tensor): what a latency belongs to.
        origin: who measured it, and where it is published.
        licence: as the source states it.
        unit: of its latencies: us, ms or s.
        columns: that it must have.
        key: columns that name what a row describes, together.
        latencies: table -> one row per cell that may hold a latency, columns `LATENCIES`; empty cells included.
        model: column with the model's name.
        parts: columns that tell models of one name apart, of whole models.
        family: table -> [n] one of the project's kernel families; None for whole models.
        mapping: how its rows become profile records; None for whole models.
        note: what a user must know.
        median_us: least and greatest that the median of all latencies can be; None: what the level asks for.
    """

    name: str
    level: str
    origin: str
    licence: str
    unit: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    latencies: Callable[[pd.DataFrame], pd.DataFrame]
    model: str
    family: Callable[[pd.DataFrame], np.ndarray] | None = None
    mapping: Mapping | None = None
    note: str = ""
    median_us: tuple[float, float] | None = None
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in LEVELS or self.unit not in UNITS_US:
            raise ValueError(f"{self.name}: level {self.level!r} or unit {self.unit!r} is none of ours")

    def model_names(self, table: pd.DataFrame) -> pd.Series[str]:
        """[n] the model of each row: its name, and what tells it from others of that name."""
        names = table[self.model].astype(str)
        for column in (name for name in self.parts if name in table.columns):
            part = table[column].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
            names += (" " + part).where(table[column].notna() & (part != ""), "")
        return names


def cells(
    table: pd.DataFrame, column: str, *, device: str, processor: str, setting: str = "", precision: str = ""
) -> pd.DataFrame:
    """The latencies of one column, all on one device."""
    import pandas as pd

    return pd.DataFrame(
        {
            "row": np.arange(len(table)), "column": column, "device": device, "processor": processor,
            "setting": setting, "precision": precision, "latency": table[column].to_numpy(),
        }
    )  # fmt: skip


def joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Several columns' latencies in one table; none where there is no such column."""
    import pandas as pd

    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({name: [] for name in LATENCIES})


def families_of(kinds: pd.Series, names: tuple[tuple[str, str], ...]) -> np.ndarray:
    """Kernel families by the first part of an operator's type that is found; `other` where none is.

    Args:
        kinds: [n] operator types as the table names them.
        names: (part of a type in lower case, family), the more special first.
    """
    found = {}
    for kind in kinds.fillna("").astype(str).unique():
        family = next((family for part, family in names if part in kind.lower()), "other")
        if family not in FAMILIES:
            raise ValueError(f"{family!r} is no kernel family")
        found[kind] = family
    return kinds.fillna("").astype(str).map(found).to_numpy(dtype=str)


class CellError(ValueError):
    """A cell of a row that describes what was measured cannot be read; its column, and what stands there."""

    def __init__(self, column: str, value: object, reason: str) -> None:
        super().__init__(f"{value!r}: {reason}")
        self.column = column


def number(row: Mapped[str, Any], column: str) -> float:
    """A number from a cell, NaN where it is empty.

    Raises:
        CellError: something else stands there.
    """
    value = row[column]
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise CellError(column, value, "no number") from error


def whole(row: Mapped[str, Any], column: str) -> int:
    """A count from a cell; 0 where it is empty or no whole number above 0.

    Raises:
        CellError: no number, or larger than any size.
    """
    found = number(row, column)
    if found > LARGEST:
        raise CellError(column, row[column], "larger than any size")
    return int(found) if found >= 1 and found.is_integer() else 0


def padding(row: Mapped[str, Any], column: str) -> int | None:
    """Rows or columns that are padded at one end; None where the cell is empty.

    Raises:
        CellError: no whole number from 0.
    """
    found = number(row, column)
    if math.isnan(found):
        return None
    if not 0 <= found <= LARGEST or not found.is_integer():
        raise CellError(column, row[column], "a padding is a whole number from 0")
    return int(found)
