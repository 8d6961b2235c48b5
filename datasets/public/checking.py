"""Every value of a public table is looked at on its way in; what is refused says where it stood and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autotune.datasets.plausible import (
    ABSURD_US,
    APART,
    DEVICE_SLACK,
    LEAST_SHARED,
    MOST_COMPARED,
    TABLE_MEDIAN_US,
    unit_problem,
)
from autotune.datasets.public.source import PROCESSORS, UNITS_US, Source
from autotune.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCell:
    """A latency that was not imported: row in the file (the first is 0), column, and why."""

    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """Latencies that may be used, in µs, and the ones that may not.

    Args:
        latencies: columns of `LATENCIES` with `latency_us` in place of `latency`.
        refused: in the order of the file.
        empty: cells that hold nothing: not measured there.
    """

    latencies: pd.DataFrame
    refused: tuple[RefusedCell, ...]
    empty: int


def check(source: Source, table: pd.DataFrame) -> Checked:
    """Latencies of a table, each one checked.

    Raises:
        InputError: columns are missing, or the unit cannot be the one that the source says.
    """
    import pandas as pd

    missing = [name for name in source.columns if name not in table.columns]
    if missing:
        raise InputError(f"{source.name} lacks the columns {', '.join(missing)}: is it another table? (--as NAME)")
    found = source.latencies(table).reset_index(drop=True)
    if found.empty:
        raise InputError(
            f"{source.name} has no column of latencies; it has {', '.join(map(str, table.columns[:12]))}, …"
        )
    given = found["latency"]
    number = pd.to_numeric(given, errors="coerce").astype(float)
    empty = given.isna()
    latency_us = number * UNITS_US[source.unit]
    keys = [name for name in source.key if name in table.columns]
    again = table.duplicated(keys, keep="first").to_numpy()[found["row"]]
    nameless = table[source.model].isna().to_numpy()[found["row"]]
    reasons = np.full(len(found), "", dtype=object)
    for wrong, reason in (
        (again, "the same " + ", ".join(keys[:4]) + " stood in an earlier row"),
        (nameless, f"no {source.model}"),
        (~found["processor"].isin(PROCESSORS).to_numpy(), f"unknown processor; known: {', '.join(PROCESSORS)}"),
        ((latency_us >= ABSURD_US).to_numpy(), "an hour or more is no latency"),
        (np.isneginf(number.to_numpy()) | (number <= 0).to_numpy(), "a latency is more than 0"),
        ((number.isna() & ~empty).to_numpy(), "no number"),
    ):
        reasons[wrong & ~empty.to_numpy()] = reason
    refused = [
        RefusedCell(row=int(row), column=str(column), reason=f"{value!r}: {reason}")
        for row, column, value, reason in zip(
            *(found[name][reasons != ""] for name in ("row", "column", "latency")), reasons[reasons != ""], strict=True
        )
    ]
    good = (reasons == "") & ~empty.to_numpy()
    kept = found.drop(columns="latency").assign(latency_us=latency_us)[good].reset_index(drop=True)
    _check_unit(source, kept)
    _check_devices(source, table, kept)
    return Checked(latencies=kept, refused=tuple(sorted(refused, key=lambda cell: cell.row)), empty=int(empty.sum()))


def _check_unit(source: Source, kept: pd.DataFrame) -> None:
    low, high = source.median_us or TABLE_MEDIAN_US[source.level]
    medians = kept.groupby("device")["latency_us"].median()
    found = {"": (kept["latency_us"].median(), 1.0)} if len(kept) else {}
    found |= {f" on {device}": (median, DEVICE_SLACK) for device, median in medians.items()}
    for place, (median, slack) in found.items():
        problem = unit_problem(float(median), (low / slack, high * slack))
        if problem:
            raise InputError(
                f"{source.name}{place}, read as {source.unit}: {problem}. Nothing was imported; bring its latencies to "
                f"{source.unit}, in which the source states them, and import it again."
            )


def _check_devices(source: Source, table: pd.DataFrame, kept: pd.DataFrame) -> None:
    """Devices that measured the same are compared: one in another unit can pass for a device by itself."""
    shared = [name for name in source.key if name != "device" and name in table.columns]
    what = table.groupby(shared, dropna=False, sort=False).ngroup().to_numpy()[kept["row"]]
    log_us = np.log(kept["latency_us"]).groupby([what, kept["device"], kept["column"]]).mean().unstack([1, 2])
    log_us = log_us[log_us.count(axis=1) > 1]
    log_us = log_us.sample(min(len(log_us), MOST_COMPARED), random_state=0)
    ratios = {}
    for place in log_us.columns:
        beside = log_us.drop(columns=[place]).rsub(log_us[place], axis=0)
        typical = beside.median()[beside.count() >= LEAST_SHARED].median()
        if abs(typical) >= np.log(APART):
            ratios[place] = float(typical)
    if ratios:
        device, column = worst = max(ratios, key=lambda place: abs(ratios[place]))
        raise InputError(
            f"{source.name}, {column} of {device}: {np.exp(ratios[worst]):.3g} times what others take on the same "
            f"rows, up to {APART:.0f} times is plausible: it is in another unit. Nothing was imported; bring its "
            f"latencies to {source.unit}, in which the source states them, and import it again."
        )
