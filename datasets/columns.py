"""Records by column: what learning needs of a million of them, without an object for each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autotune.core import Identity, Kernel, Lane, Notes

Codes = npt.NDArray[np.intp]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProfileColumns:
    """Measured profile records in the order they were made; the same as `Store.kernels(latest=False)` says.

    Args:
        kernels: [K] distinct kernels.
        signatures: [K] theirs.
        lanes: distinct lanes.
        identities: distinct identities.
        notes: distinct notes.
        kernel: [N] position in `kernels`, per record.
        lane: [N] position in `lanes`.
        identity: [N] position in `identities`.
        note: [N] position in `notes`.
        median_us: [N] median of the record's samples.
        ordinal: [N] how many records of the device were made before it, failures too.
        failures: how many records hold a failure instead; they are not among the N.
    """

    kernels: tuple[Kernel, ...]
    signatures: tuple[str, ...]
    lanes: tuple[Lane, ...]
    identities: tuple[Identity, ...]
    notes: tuple[Notes, ...]
    kernel: Codes
    lane: Codes
    identity: Codes
    note: Codes
    median_us: Vector
    ordinal: Codes
    failures: int

    def first(self, count: int) -> ProfileColumns:
        """What it was when the device had `count` records, failures too."""
        rows = slice(0, int(np.searchsorted(self.ordinal, count)))
        fields = {name: getattr(self, name)[rows] for name in ("kernel", "lane", "identity", "note", "ordinal")}
        return replace(self, median_us=self.median_us[rows], failures=min(count, self.count) - rows.stop, **fields)

    def kernels_by_lane(self) -> dict[Lane, int]:
        """How many kernels were measured on each lane."""
        pairs = np.unique(np.column_stack([self.lane, self.kernel]), axis=0)
        return {self.lanes[at]: count for at, count in enumerate(np.bincount(pairs[:, 0]).tolist()) if count}

    @property
    def count(self) -> int:
        """Records, failures too."""
        return len(self.kernel) + self.failures


class Coding:
    """Texts to numbers in the order in which they are first seen."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def code(self, text: str) -> int:
        """The text's number."""
        return self._known.setdefault(text, len(self._known))

    @property
    def texts(self) -> list[str]:
        """All of them by number."""
        return list(self._known)


def segment_medians(values: Vector, segments: Codes, count: int) -> Vector:
    """Median of the values of each segment.

    Args:
        values: [N].
        segments: [N] which of `count` segments a value belongs to; each has at least one.
        count: of segments.
    """
    order = np.lexsort((values, segments))
    ordered = values[order]
    sizes = np.bincount(segments, minlength=count)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    low, high = ordered[starts + (sizes - 1) // 2], ordered[starts + sizes // 2]
    result: Vector = np.where(low == high, low, (low + high) / 2)
    return result
