"""Records as rows of exported Parquet files; the inverse of `incoming.py` and its like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from autotune.core import CoRunMeasurement, CoRunRecord, Kernel, Measurement, ProfileRecord, StageRecord
from autotune.datasets import rows
from autotune.datasets.cards import COLUMNS
from autotune.datasets.incoming_coruns import CORUN_COLUMNS
from autotune.datasets.incoming_stages import STAGE_COLUMNS

Row = dict[str, Any]
Models = Mapping[str, tuple[str, tuple[str, ...]]]
"""Hash -> (name, signatures of its kernels in order), as of `Store.models`."""


class _Kernels:
    """Signatures and JSON of kernels, each worked out once."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[Kernel, str, str]] = {}

    def of(self, kernel: Kernel) -> tuple[str, str]:
        if id(kernel) not in self._texts:
            self._texts[id(kernel)] = kernel, kernel.signature, rows.to_json(kernel)
        return self._texts[id(kernel)][1:]


def profile_rows(records: Iterable[ProfileRecord]) -> Iterator[Row]:
    """Rows of `COLUMNS`."""
    kernels = _Kernels()
    for record in records:
        signature, text = kernels.of(record.kernel)
        row = rows.profile_row(record, signature) | {"kernel": text, "samples_us": _samples(record.result)}
        yield {name: row[name] for name in COLUMNS}


def corun_rows(records: Iterable[CoRunRecord]) -> Iterator[Row]:
    """Rows of `CORUN_COLUMNS`."""
    kernels = _Kernels()
    for record in records:
        sides = {"victim": record.victim, "beside": record.beside}
        texts = {name: list(map(kernels.of, side)) for name, side in sides.items()}
        row = rows.corun_row(record, (), ())
        for name, own in texts.items():
            row[name], row[f"{name}_kernels"] = [one[0] for one in own], [one[1] for one in own]
        if isinstance(record.result, CoRunMeasurement):
            row |= {"alone_us": list(record.result.alone_us), "beside_us": list(record.result.beside_us)}
        yield {name: row[name] for name in CORUN_COLUMNS}


def stage_rows(records: Iterable[StageRecord]) -> Iterator[Row]:
    """Rows of `STAGE_COLUMNS`."""
    for record in records:
        row = rows.stage_row(record) | {"kernels": list(record.kernels), "samples_us": _samples(record.result)}
        yield {name: row[name] for name in STAGE_COLUMNS}


def model_rows(models: Models) -> Iterator[Row]:
    """Rows of `MODEL_COLUMNS`."""
    for sha256, (name, kernels) in models.items():
        yield {"sha256": sha256, "name": name, "kernels": list(kernels)}


def _samples(result: object) -> list[float] | None:
    return list(result.samples_us) if isinstance(result, Measurement) else None
