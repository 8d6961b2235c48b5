"""Rows of stage records, and of models, from elsewhere: every one is checked before any is stored."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from autotune.core import Failure, Measurement, StageRecord
from autotune.datasets import rows
from autotune.datasets.cells import cells_of, failure_of, notes_text, read_cell, times_of
from autotune.datasets.incoming import Incoming, RefusedRow, canonical_lane

if TYPE_CHECKING:
    import pyarrow as pa

STAGE_COLUMNS = (
    "model_sha256", "start", "stop", "kernels", "bytes_in", "bytes_out", "lane", "errors", "predicted_us", "identity",
    "notes", "samples_us", "load_s", "peak_bytes", "failure_kind", "failure_message",
)  # fmt: skip
MODEL_COLUMNS = ("sha256", "name", "kernels")


def check_stages(table: pa.Table, place: str) -> Incoming:
    """Every row of a table with `STAGE_COLUMNS`.

    Args:
        table: as read.
        place: the file, for messages.

    Raises:
        StoreError: a column is of another type, or the times are in another unit.
    """
    return _checked(cells_of(table, STAGE_COLUMNS, place), lambda cells: rows.stage_row(_stage(cells)))


def check_models(table: pa.Table, place: str) -> Incoming:
    """Every row of a table with `MODEL_COLUMNS`; arguments and errors as of `check_stages`."""
    return _checked(cells_of(table, MODEL_COLUMNS, place), _model)


def _checked(table: list[dict[str, Any]], read: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Incoming:
    made, refused = [], []
    for at, cells in enumerate(table):
        try:
            made.append(read(cells))
        except ValueError as error:
            refused.append(RefusedRow(row=at, reason=str(error)))
    return Incoming(
        kernels={},
        rows=iter(made),
        devices=tuple(sorted({row["device"] for row in made if "device" in row})),
        count=len(made),
        refused=tuple(refused),
    )


def _stage(cells: Mapping[str, Any]) -> StageRecord:
    start, stop, bytes_in, bytes_out = numbers = [cells[name] for name in ("start", "stop", "bytes_in", "bytes_out")]
    if any(number is None or number < 0 for number in numbers) or start >= stop:
        raise ValueError(f"start, stop, bytes_in and bytes_out are {numbers}: numbers from 0, the stop after the start")
    predicted_us = cells["predicted_us"]
    if predicted_us is None or not 0 <= predicted_us < math.inf:
        raise ValueError(f"predicted_us: {predicted_us} is no time from 0")
    return StageRecord(
        model_sha256=read_cell("model_sha256", cells, _named),
        start=start,
        stop=stop,
        kernels=_signatures(cells),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        lane=rows.lane_of(read_cell("lane", cells, canonical_lane)),
        result=_result(cells),
        errors=read_cell("errors", cells, _errors),
        predicted_us=predicted_us,
        identity=read_cell("identity", cells, rows.identity_of),
        notes=rows.notes_of(read_cell("notes", cells, notes_text)),
    )


def _result(cells: Mapping[str, Any]) -> Measurement | Failure:
    if cells["samples_us"] is None:
        kind, message = failure_of(cells)
        return Failure(kind=kind, message=message)
    load_s, peak_bytes = cells["load_s"], cells["peak_bytes"]
    if load_s is None or not 0 <= load_s < math.inf or peak_bytes is None or peak_bytes < 0:
        raise ValueError(f"load_s {load_s} and peak_bytes {peak_bytes} are numbers from 0")
    return Measurement(samples_us=times_of("samples_us", cells), load_s=load_s, peak_bytes=peak_bytes)


def _errors(text: str) -> tuple[tuple[str, float], ...]:
    return tuple((str(part), float(value)) for part, value in json.loads(text))


def _model(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the table `models`."""
    sha256, name = (read_cell(column, cells, _named) for column in ("sha256", "name"))
    return {"sha256": sha256, "name": name, "kernels": json.dumps(_signatures(cells))}


def _named(text: str) -> str:
    if not text:
        raise ValueError("an empty text")
    return text


def _signatures(cells: Mapping[str, Any]) -> tuple[str, ...]:
    found = tuple(cells["kernels"] or ())
    if not all(found) or not found:
        raise ValueError(f"kernels: signatures of kernels are wanted, got {found[:5]}")
    return found
