"""Public tables of operators as profile records, in a store of their own: never among those of this device."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.core import Identity, Kernel, Lane, Measurement, Notes, Precision, ProfileRecord, Protocol
from autotune.core.lane import Concurrency
from autotune.datasets.public.checking import RefusedCell
from autotune.datasets.public.operators import built
from autotune.datasets.public.source import CellError, Mapping, Source
from autotune.datasets.store import Store

if TYPE_CHECKING:
    import pandas as pd

RECORDS = "records.db"
PRECISIONS = {"": Precision.F32, "float32": Precision.F32, "float16": Precision.F16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became records.

    Args:
        records: how many.
        kernels: distinct ones.
        devices: name in the table -> (identifier in the records, records).
        left_out: why rows are not among them -> how many rows.
        refused: rows whose operator cannot be read: the cell that is wrong.
        lost: what the records do not hold, or what was taken for granted.
    """

    records: int
    kernels: int
    devices: dict[str, tuple[str, int]]
    left_out: dict[str, int]
    refused: tuple[RefusedCell, ...]
    lost: tuple[str, ...]

    def card(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "records": self.records,
            "kernels": self.kernels,
            "devices": [{"device": name, "id": own, "records": n} for name, (own, n) in self.devices.items()],
            "left_out_rows": self.left_out,
            "lost": list(self.lost),
        }


def device_id(source: str, device: str) -> str:
    """Identifier of a device of a public table, of the same form as `Device.id`; never that of a machine here."""
    return hashlib.sha256(f"public {source} {device}".encode()).hexdigest()[:12]


def write_records(source: Source, table: pd.DataFrame, latencies: pd.DataFrame, folder: Path, *, time: str) -> Recorded:
    """Writes `records.db` into a folder: every latency whose operator can be built, and the models for honest splits.

    Args:
        source: with a mapping.
        table: as it was read.
        latencies: checked ones (`Checked.latencies`).
        folder: of the data set.
        time: for the notes.
    """
    mapping = source.mapping
    if mapping is None:
        raise ValueError(f"{source.name} holds no operators")
    cells = table.to_dict("records")
    kernels: dict[int, Kernel] = {}
    left_out: Counter[str] = Counter()
    refused: list[RefusedCell] = []
    for row in sorted(set(latencies["row"].tolist())):
        found = _kernel(mapping, cells[row], row)
        if isinstance(found, RefusedCell):
            refused.append(found)
        elif isinstance(found, str):
            left_out[found] += 1
        else:
            kernels[row] = found
    notes = Notes(time=time, code_version="")
    names = ("row", "device", "processor", "setting", "precision", "latency_us")
    records = [
        _record(source, mapping, cells[row], kernels[row], notes, *rest)
        for row, *rest in zip(*(latencies[name].tolist() for name in names), strict=True)
        if row in kernels
    ]
    signatures: dict[int, str] = {}  # kernels of equal operators are one object
    models: dict[str, list[str]] = {}
    for row, kernel in kernels.items():
        own = signatures.setdefault(id(kernel), "") or kernel.signature
        signatures[id(kernel)] = own
        models.setdefault(str(cells[row][source.model]), []).append(own)
    with Store(f"sqlite:///{folder / RECORDS}") as store:
        store.add(records)
        for name, held in models.items():
            store.add_model(hashlib.sha256(f"{source.name} {name}".encode()).hexdigest(), name, held)
    counted = Counter(record.identity.device for record in records)
    devices = {name: device_id(source.name, name) for name in sorted(set(latencies["device"].astype(str)))}
    return Recorded(
        records=len(records),
        kernels=len(set(signatures.values())),
        devices={name: (own, counted[own]) for name, own in devices.items()},
        left_out=dict(left_out.most_common()),
        refused=tuple(refused),
        lost=mapping.lost,
    )


def _kernel(mapping: Mapping, cells: dict[Hashable, Any], row: int) -> Kernel | str | RefusedCell:
    """The kernel of a row, why its operator is none, or the cell that cannot be read."""
    try:
        described = mapping.describe({str(name): value for name, value in cells.items()})
    except CellError as error:
        return RefusedCell(row=row, column=error.column, reason=str(error))
    if isinstance(described, str):
        return described
    try:
        return built(described)
    except ValueError as error:
        return str(error)


def _record(
    source: Source, mapping: Mapping, row: dict[Hashable, Any], kernel: Kernel, notes: Notes, *cell: Any
) -> ProfileRecord:
    device, processor, setting, precision, latency_us = cell
    engine = mapping.engine({str(name): value for name, value in row.items()})
    threads, options = mapping.lane(setting)
    return ProfileRecord(
        kernel=kernel,
        lane=Lane(
            processor=f"{engine}:{processor}",
            precision=PRECISIONS[precision],
            concurrency=Concurrency(threads=threads),
            options=options,
        ),
        result=Measurement(samples_us=(latency_us,)),
        identity=Identity(
            device=device_id(source.name, str(device)),
            provider=f"{engine} on {device}",
            runtime=source.name,
            protocol=Protocol.PUBLISHED,
        ),
        notes=notes,
    )
