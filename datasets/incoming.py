"""Rows of a Parquet file of profile records, each one checked by column: what may be stored, what may not and why.

Texts repeat (a lane stands in thousands of rows), so each distinct one is read once; numbers are checked as arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.core import FailureKind, Lane, Notes
from autotune.core.codec import decode
from autotune.datasets import rows
from autotune.datasets.plausible import ABSURD_US, processor_problem, rate_problem, unit_problem
from autotune.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

MULTIPLYING = ("convolution", "matmul", "attention")
NO_SAMPLES = "a measurement needs positive samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row that was not imported: its number in the file, from 0, and why."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Incoming:
    """What a file holds that may be stored.

    Args:
        kernels: signature -> canonical JSON.
        rows: of the store's table `profiles` or `coruns`, made as they are taken.
        devices: all devices in these rows.
        count: how many rows there are.
        refused: in the order of the file.
    """

    kernels: dict[str, str]
    rows: Iterator[dict[str, Any]]
    devices: tuple[str, ...]
    count: int
    refused: tuple[RefusedRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Texts:
    """A column of texts: which distinct one each row has, and what became of each.

    Args:
        codes: [N] position below; -1 where the cell is empty.
        good: canonical text per distinct one, empty where it cannot be read.
        reasons: why not, empty where it can.
    """

    codes: npt.NDArray[np.intp]
    good: list[str]
    reasons: list[str]

    def reason(self, row: int) -> str:
        """Why the row's text cannot be read; empty where it can."""
        return "an empty cell" if self.codes[row] < 0 else self.reasons[self.codes[row]]

    @property
    def bad(self) -> npt.NDArray[np.bool_]:
        """[N] whether it cannot."""
        wrong = np.array([bool(reason) for reason in self.reasons] + [True])
        return wrong[self.codes]


def check_rows(table: pa.Table, place: str) -> Incoming:
    """Every row of a table with `parquet.COLUMNS`.

    Args:
        table: as read.
        place: the file, for messages.

    Raises:
        StoreError: a column is of another type, or the times are in another unit.
    """
    flops: dict[str, float] = {}
    kernels = _texts(table, "kernel", lambda text: _kernel(text, flops))
    checks = {
        "kernel": kernels,
        "lane": _texts(table, "lane", canonical_lane),
        "identity": _texts(table, "identity", lambda text: rows.identity_json(rows.identity_of(text))),
        "notes": _texts(table, "notes", lambda text: rows.to_json(decode(Notes, json.loads(text)))),
    }
    samples = _Samples.of(table, place)
    _check_unit(samples, place)
    signatures = table["signature"].to_pylist()
    named = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in kernels.good]
    pairs = zip(kernels.codes.tolist(), signatures, strict=True)
    misnamed = np.array([code < 0 or named[code] != given for code, given in pairs], dtype=bool)
    kinds, messages = table["failure_kind"].to_pylist(), table["failure_message"].to_pylist()
    known = {kind.value for kind in FailureKind}
    failed = samples.absent
    rest = zip(failed.tolist(), kinds, messages, strict=True)
    silent = np.array([fails and (kind not in known or message is None) for fails, kind, message in rest], dtype=bool)
    load_s, peak_bytes = (_numbers(table, name, place) for name in ("load_s", "peak_bytes"))
    odd_numbers = ~((load_s >= 0) & np.isfinite(load_s) & (peak_bytes >= 0))
    unusable = misnamed | samples.bad | silent | odd_numbers
    for texts in checks.values():
        unusable |= texts.bad

    def reason(row: int) -> str:
        for name, texts in checks.items():
            if texts.reason(row):
                return f"{name}: {texts.reason(row)}"
        if misnamed[row]:
            return f"the kernel is not the one that its signature {signatures[row]} names"
        if samples.bad[row]:
            return samples.reason(row)
        if silent[row]:
            return f"{kinds[row]!r} is no kind of failure with a message; known: {', '.join(sorted(known))}"
        return f"load_s {load_s[row]} and peak_bytes {peak_bytes[row]} are numbers from 0"

    wanted = np.flatnonzero(~unusable)
    measured = wanted[~failed[wanted]]
    work = np.array([flops.get(text, 0.0) for text in kernels.good])[kernels.codes[measured]]
    _check_rates(checks["lane"], measured, work, samples, place)
    identity = checks["identity"]
    devices = [rows.identity_of(text).device if text else "" for text in identity.good]

    def made() -> Iterator[dict[str, Any]]:
        text = {name: (one.codes.tolist(), one.good) for name, one in checks.items() if name != "kernel"}
        (lane, lanes), (who, identities), (note, notes) = text["lane"], text["identity"], text["notes"]
        for row in wanted.tolist():
            empty = failed[row]
            yield {
                "signature": signatures[row],
                "lane": lanes[lane[row]],
                "device": devices[who[row]],
                "identity": identities[who[row]],
                "notes": notes[note[row]],
                "samples_us": samples.packed(row),
                "failure_kind": kinds[row] if empty else "",
                "failure_message": messages[row] if empty else "",
                "load_s": 0.0 if empty else float(load_s[row]),
                "peak_bytes": 0 if empty else int(peak_bytes[row]),
            }

    used = np.unique(kernels.codes[wanted])
    return Incoming(
        kernels={named[code]: kernels.good[code] for code in used.tolist()},
        rows=made(),
        devices=tuple(sorted({devices[code] for code in np.unique(identity.codes[wanted]).tolist()})),
        count=len(wanted),
        refused=tuple(RefusedRow(row=row, reason=reason(row)) for row in np.flatnonzero(unusable).tolist()),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Samples:
    """The column of samples: all values behind each other, and where each row's begin and end."""

    values: npt.NDArray[np.float64]
    ends: npt.NDArray[np.int64]
    absent: npt.NDArray[np.bool_]
    bad: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, table: pa.Table, place: str) -> _Samples:
        import pyarrow as pa

        kind = pa.large_list(pa.float64())
        try:
            chunks = table["samples_us"].cast(kind).chunks
        except pa.ArrowException as error:
            raise StoreError(f"{place}: the column samples_us holds no lists of numbers ({error}).") from error
        column = pa.concat_arrays(chunks or [pa.array([], kind)])
        ends = np.asarray(column.offsets)
        values = column.values.to_numpy(zero_copy_only=False).astype(np.float64)
        absent = np.asarray(column.is_null())
        wrong = np.concatenate([[0], np.cumsum(~((values > 0) & (values < ABSURD_US)))])
        bad = ~absent & ((wrong[ends[1:]] > wrong[ends[:-1]]) | (ends[1:] == ends[:-1]))
        return cls(values=values, ends=ends, absent=absent, bad=bad)

    def own(self, row: int) -> npt.NDArray[np.float64]:
        """The row's samples."""
        return self.values[self.ends[row] : self.ends[row + 1]]

    def means(self) -> npt.NDArray[np.float64]:
        """[N] mean of each row's positive samples of less than an hour, over all of its samples; 0 without any."""
        sound = np.where((self.values > 0) & (self.values < ABSURD_US), self.values, 0.0)
        until = np.concatenate([[0.0], np.cumsum(sound)])[self.ends]
        result: npt.NDArray[np.float64] = np.diff(until) / np.maximum(np.diff(self.ends), 1)
        return result

    def packed(self, row: int) -> bytes | None:
        """As the store holds them (`rows.pack_samples`); None for a failure."""
        return None if self.absent[row] else self.own(row).astype("<f8", copy=False).tobytes()

    def reason(self, row: int) -> str:
        """Why they are no measurement."""
        own = self.own(row)
        if len(own) and (own > 0).all():
            return f"{own.max():g} µs is an hour or more: no latency"
        return f"{NO_SAMPLES}, got {tuple(own[:5].tolist())}"


def _check_unit(samples: _Samples, place: str) -> None:
    sound = samples.values[(samples.values > 0) & np.isfinite(samples.values)]
    problem = unit_problem(float(np.median(sound))) if len(sound) else ""
    if problem:
        raise StoreError(f"{place}: read as microseconds, {problem}; nothing was imported.")


def _check_rates(
    lanes: _Texts, measured: npt.NDArray[np.intp], flops: npt.NDArray[np.float64], samples: _Samples, place: str
) -> None:
    """Refuses the file if a lane would be faster or slower than any.

    Args:
        lanes: of all rows.
        measured: [m] rows with sound samples.
        flops: [m] what each of them multiplies.
        samples: of all rows.
        place: the file, for messages.
    """
    counted = measured[flops > 0]
    codes, count = lanes.codes[counted], len(lanes.good)
    by_lane = (
        np.bincount(codes, weights=own, minlength=count) for own in (flops[flops > 0], samples.means()[counted], None)
    )
    for text, work, spent_us, kernels in zip(lanes.good, *by_lane, strict=True):
        problem = rate_problem(rows.lane_of(text), work, spent_us, int(kernels)) if spent_us else ""
        if problem:
            raise StoreError(f"{place}: read as microseconds, {problem}; nothing was imported.")


def _texts(table: pa.Table, name: str, read: Callable[[str], str]) -> _Texts:
    import pyarrow as pa

    coded = pa.concat_arrays(table[name].cast(pa.large_string()).chunks or [pa.array([], pa.large_string())])
    coded = coded.dictionary_encode()
    good, reasons = [], []
    for text in coded.dictionary.to_pylist():
        try:
            good.append(read(text))
            reasons.append("")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            good.append("")
            reasons.append(f"{error}" or "unreadable")
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
    return _Texts(codes=codes, good=good, reasons=reasons)


def _kernel(text: str, flops: dict[str, float]) -> str:
    """The kernel in canonical JSON; puts down what it multiplies, 0 of what a neighbour's kernel may take along."""
    kernel = rows.kernel_of(text)
    canonical = rows.to_json(kernel)
    flops[canonical] = float(kernel.flops) if kernel.family in MULTIPLYING else 0.0
    return canonical


def canonical_lane(text: str) -> str:
    """The lane in canonical JSON; ValueError where it is none, or of no processor."""
    lane: Lane = rows.lane_of(text)
    problem = processor_problem(lane.processor)
    if problem:
        raise ValueError(problem)
    return rows.lane_json(lane)


def _numbers(table: pa.Table, name: str, place: str) -> npt.NDArray[np.float64]:
    import pyarrow as pa

    try:
        column = table[name].cast(pa.float64())
    except pa.ArrowException as error:
        raise StoreError(f"{place}: the column {name} holds no numbers ({error}).") from error
    result: npt.NDArray[np.float64] = column.to_numpy().astype(np.float64)
    return result
