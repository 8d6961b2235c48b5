"""Recorded devices: latencies of kernels that somebody measured elsewhere, as a folder of tables.

docs/recorded.md describes the format for those who make such a folder.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.datasets.plausible import ABSURD_US
from autotune.errors import InputError, SchemaVersionError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

RECORDED_SCHEMA_VERSION = 1
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}
LATENCY = "latency "
"""Prefix of a column of latencies: `latency cpu`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedModel:
    """Kernels of one model in execution order.

    Args:
        name: of the model.
        kernels: [N] names.
        predecessors: [N] positions of the kernels whose outputs each needs.
        output_bytes: [N].
        latency_us: [N][P], inf where a processor was not measured.
    """

    name: str
    kernels: tuple[str, ...]
    predecessors: tuple[tuple[int, ...], ...]
    output_bytes: tuple[int, ...]
    latency_us: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDevice:
    """What was recorded of a device.

    Args:
        name: of the device.
        source: where it comes from, for people.
        processors: [P] names.
        models: by name.
        transfers: (from, to) -> (bytes, µs) pairs, sorted by bytes.
        corun: (processor, other) -> slowdown of the first while the other is busy.
    """

    name: str
    source: str
    processors: tuple[str, ...]
    models: dict[str, RecordedModel]
    transfers: dict[tuple[str, str], tuple[tuple[float, float], ...]] = field(default_factory=dict)
    corun: dict[tuple[str, str], float] = field(default_factory=dict)

    def model(self, name: str) -> RecordedModel:
        """One model; UnknownNameError lists those that were recorded."""
        if name not in self.models:
            raise UnknownNameError("model", name, known=sorted(self.models))
        return self.models[name]

    def transfer_us(self, source: str, target: str, size: int) -> float:
        """µs to bring bytes from one processor to another: as recorded for this size, else by a line through all sizes.

        Raises:
            InputError: no transfer between these two was recorded.
        """
        rows = self.transfers.get((source, target))
        if not rows:
            raise InputError(f"transfers.csv of {self.name} has no row from {source!r} to {target!r}")
        same = [us for recorded, us in rows if recorded == size]
        if same:
            return float(np.median(same))
        sizes, times = np.array(rows).T
        if len(set(sizes)) < 2:
            return float(np.median(times))
        slope, offset = np.polyfit(sizes, times, 1, w=1 / times)  # by relative error: small ones count too
        return float(max(offset + slope * size, times.min() * min(1.0, size / max(sizes.min(), 1.0)), 0.0))


def read_recorded(folder: str | Path) -> RecordedDevice:
    """Reads and checks a folder.

    Raises:
        InputError: what is missing or wrong, with file, row and value.
        SchemaVersionError: written by a newer version.
    """
    folder = Path(folder)
    card = _card(folder / "device.json")
    unit = card.get("unit")
    if unit not in UNITS:
        given = "says no unit" if unit is None else f"unit {unit!r} is unknown"
        raise InputError(f'{folder / "device.json"} {given}: write "unit": one of {", ".join(UNITS)}')
    scale = UNITS[unit]
    kernels = _table(folder / "kernels.csv", ("model", "kernel", "predecessors", "output_bytes"))
    processors = tuple(name.removeprefix(LATENCY) for name in kernels.columns if name.startswith(LATENCY))
    if not processors:
        raise InputError(f"{folder / 'kernels.csv'} has no column '{LATENCY}<processor>', for instance '{LATENCY}cpu'")
    models = {
        str(name): _model(folder / "kernels.csv", str(name), rows, processors, scale)
        for name, rows in kernels.groupby("model", sort=False)
    }
    return RecordedDevice(
        name=str(card.get("name", folder.name)),
        source=str(card.get("source", "")),
        processors=processors,
        models=models,
        transfers=_transfers(folder / "transfers.csv", processors, scale),
        corun=_corun(folder / "corun.csv", processors),
    )


def _card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path} cannot be read: a recorded device needs it (docs/recorded.md)") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    if not isinstance(card, dict):
        raise InputError(f"{path} is no JSON object")
    version = card.get("schema_version")
    if isinstance(version, int) and version > RECORDED_SCHEMA_VERSION:
        raise SchemaVersionError(str(path), found=version, known=RECORDED_SCHEMA_VERSION, cure="give another folder")
    if version != RECORDED_SCHEMA_VERSION:
        raise InputError(f"{path}: schema_version is {version!r}, not {RECORDED_SCHEMA_VERSION}")
    return card


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: a recorded device needs it (docs/recorded.md)") from error
    except ValueError as error:
        raise InputError(f"{path} is no table of comma-separated values: {error}") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    return table


def _number(path: Path, row: int, column: str, value: Any, scale: float = 1.0) -> float:
    try:
        number = float(value) * scale
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}, row {row}: {column} {value!r} is no number") from error
    if not (0 < number < ABSURD_US):
        raise InputError(f"{path}, row {row}: {column} {value!r} is no time: more than 0 and less than an hour")
    return number


def _bytes(path: Path, row: int, value: Any) -> int:
    try:
        size = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}, row {row}: bytes {value!r} is no number") from error
    if not (0 <= size < math.inf):
        raise InputError(f"{path}, row {row}: bytes {value!r} is no size")
    return int(size)


def _model(path: Path, name: str, rows: pd.DataFrame, processors: tuple[str, ...], scale: float) -> RecordedModel:
    kernels = [str(kernel) for kernel in rows["kernel"]]
    position = {kernel: at for at, kernel in enumerate(kernels)}
    if len(position) < len(kernels):
        twice = next(kernel for at, kernel in enumerate(kernels) if position[kernel] != at)
        raise InputError(f"{path}: the kernel {twice!r} of {name!r} stands twice")
    before: list[tuple[int, ...]] = []
    latencies: list[tuple[float, ...]] = []
    for at, (row, values) in enumerate(rows.iterrows()):
        listed = values["predecessors"]
        names = [] if isinstance(listed, float) and math.isnan(listed) else [p for p in str(listed).split(";") if p]
        unknown = [p for p in names if position.get(p, at) >= at]
        line = int(str(row)) + 2  # the heading is line 1
        if unknown:
            raise InputError(f"{path}, row {line}: the predecessor {unknown[0]!r} is no earlier kernel of {name!r}")
        before.append(tuple(position[p] for p in names))
        cells = [values[LATENCY + processor] for processor in processors]
        if all(isinstance(cell, float) and math.isnan(cell) for cell in cells):
            named = ", ".join(processors)
            raise InputError(f"{path}, row {line}: {kernels[at]!r} of {name!r} has no latency on any of {named}")
        latencies.append(
            tuple(
                math.inf if isinstance(c, float) and math.isnan(c) else _number(path, line, LATENCY + p, c, scale)
                for p, c in zip(processors, cells, strict=True)
            )
        )
    return RecordedModel(
        name=name,
        kernels=tuple(kernels),
        predecessors=tuple(before),
        output_bytes=tuple(_bytes(path, int(str(row)) + 2, size) for row, size in rows["output_bytes"].items()),
        latency_us=tuple(latencies),
    )


def _transfers(
    path: Path, processors: tuple[str, ...], scale: float
) -> dict[tuple[str, str], tuple[tuple[float, float], ...]]:
    if len(processors) < 2:
        return {}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row, values in _table(path, ("from", "to", "bytes", "latency")).iterrows():
        line = int(str(row)) + 2
        pair = (_known(path, line, values["from"], processors), _known(path, line, values["to"], processors))
        size = float(_bytes(path, line, values["bytes"]))
        found.setdefault(pair, []).append((size, _number(path, line, "latency", values["latency"], scale)))
    absent = [(a, b) for a in processors for b in processors if a != b and (a, b) not in found]
    if absent:
        rest = f", nor for {len(absent) - 1} other pairs" if len(absent) > 1 else ""
        raise InputError(
            f"{path} has no row from {absent[0][0]!r} to {absent[0][1]!r}{rest}: each two of kernels.csv need "
            "one in each direction; take a processor that cannot be reached out of kernels.csv."
        )
    return {pair: tuple(sorted(rows)) for pair, rows in found.items()}


def _corun(path: Path, processors: tuple[str, ...]) -> dict[tuple[str, str], float]:
    if not path.exists():
        return {}
    found = {}
    for row, values in _table(path, ("processor", "beside", "slowdown")).iterrows():
        line = int(str(row)) + 2
        try:
            slowdown = float(values["slowdown"])
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, row {line}: slowdown {values['slowdown']!r} is no number") from error
        if not 1.0 <= slowdown < 100.0:
            raise InputError(f"{path}, row {line}: slowdown {slowdown} is not between 1 and 100")
        pair = (_known(path, line, values["processor"], processors), _known(path, line, values["beside"], processors))
        found[pair] = slowdown
    return found


def _known(path: Path, line: int, name: Any, processors: tuple[str, ...]) -> str:
    if name not in processors:
        known = ", ".join(processors)
        raise InputError(f"{path}, row {line}: {name!r} is none of the processors of kernels.csv: {known}")
    return str(name)
