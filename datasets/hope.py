"""Importer of the tables of HOPE (Xia et al., High Technology Letters 2022): phones' CPU and GPU by operator."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.datasets.public.checking import RefusedCell, check
from autotune.datasets.public.hope import TRANSFERS
from autotune.datasets.recorded import LATENCY, RECORDED_SCHEMA_VERSION
from autotune.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

PROCESSORS = {"cpu": "cpu_big4_us", "gpu": "gpu_us"}
"""Processor -> column: the big cores with four threads, and OpenCL."""
TINY_US = 5.0
"""Operators such as Const and Shape, near 0 µs in the tables, run wherever their consumer does."""
LEAST_US = 0.1
FLOAT_BYTES = 4
SOURCE = "HOPE, github.com/summerspringwei/DAG-Scheduler; no licence stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class HopeReport:
    """What was written.

    Args:
        folders: by device.
        kernels: in all of them.
        guessed_edges: edges to operators that the table does not hold.
        refused: latencies of transfers that cannot be used.
        without_transfers: devices with operators but no transfers; nothing was written of them.
    """

    folders: dict[str, Path]
    kernels: int
    guessed_edges: int
    refused: tuple[RefusedCell, ...] = ()
    without_transfers: tuple[str, ...] = ()


def import_hope(ops: str | Path, transfers: str | Path, folder: str | Path) -> HopeReport:
    """Writes one recorded device per phone that has operators with edges and transfers.

    Args:
        ops: `hope_ops.parquet`.
        transfers: `hope_transfer.parquet`.
        folder: where the folders go.

    Raises:
        InputError: a table that cannot be read, lacks columns, is in another unit or has no number where one is needed,
            or no device is in both.
    """
    wanted = ("engine", "model", "device", "op_name", "graph_index", "preds", "out_shape", *PROCESSORS.values())
    table = _read(Path(ops), wanted)
    copies = _read(Path(transfers), TRANSFERS.columns)
    table = table[table["engine"].eq("mnn") & table["graph_index"].notna()]
    checked = check(TRANSFERS, copies)
    times = checked.latencies[copies["engine"].eq("mnn").to_numpy()[checked.latencies["row"]]]
    times = times.assign(elements=copies["elements"].to_numpy()[times["row"]])
    folders: dict[str, Path] = {}
    without: list[str] = []
    kernels = guessed = 0
    for device, rows in table.groupby("device"):
        own = times[times["device"].eq(str(device))]
        if own["processor"].nunique() < len(PROCESSORS):
            without.append(str(device))
            continue
        target = Path(folder) / str(device)
        target.mkdir(parents=True, exist_ok=True)
        written = []
        for model, part in rows.groupby("model"):
            try:
                found, count = _kernels(str(model), part)
            except (ValueError, TypeError, OverflowError) as error:
                raise InputError(f"{ops}: {model} on {device} has a cell that is no number: {error}") from error
            written += found
            guessed += count
        kernels += len(written)
        _write(target, str(device), written, own)
        folders[str(device)] = target
    if not folders:
        listed = ", ".join(without) or "no device with edges"
        raise InputError(f"{ops} has no device whose transfers, both ways, are in {transfers}; it has {listed}")
    return HopeReport(
        folders=folders,
        kernels=kernels,
        guessed_edges=guessed,
        refused=checked.refused,
        without_transfers=tuple(without),
    )


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}")
    return table


def _kernels(model: str, rows: pd.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """Rows of kernels.csv and the edges that were guessed.

    An operator that the table does not hold is taken to need those before it that nothing in the table needs: of
    several it is a join (which takes no time), of one that one takes its place, of none the last one before it. An
    edge to a tiny operator leads on to that one's predecessors.
    """
    ordered = rows.sort_values("graph_index").drop_duplicates("graph_index")
    table = {int(row["graph_index"]): row for row in ordered.to_dict("records")}
    listed = {at: [int(p) for p in str(row["preds"]).split(",") if p.strip().isdigit()] for at, row in table.items()}
    latest = {at: [float(row[column]) for column in PROCESSORS.values()] for at, row in table.items()}
    sizes = {at: FLOAT_BYTES * _elements(row["out_shape"]) for at, row in table.items()}
    names = {at: f"{at} {row['op_name']}".replace(";", ",") for at, row in table.items()}
    big = {at for at in listed if max(latest[at]) > TINY_US}
    feeds = _feeds_of_missing(listed)
    resolved: dict[int, set[int]] = {}
    written: list[dict[str, Any]] = []
    for at in sorted({*listed, *feeds}):
        before = listed[at] if at in listed else feeds[at]
        found: set[int] = set()
        for one in (one for one in before if one < at):
            found |= {one} if one in big else resolved.get(one, set())
        resolved[at] = found
        if at not in listed and len(found) > 1:
            big.add(at)
            names[at], sizes[at], latest[at] = f"{at} not in the table", sum(sizes[one] for one in found), [0.0, 0.0]
        if at in big:
            written.append(
                {
                    "model": model,
                    "kernel": names[at],
                    "predecessors": ";".join(names[one] for one in sorted(found)),
                    "output_bytes": sizes[at],
                }
                | {LATENCY + name: max(us, LEAST_US) for name, us in zip(PROCESSORS, latest[at], strict=True)}
            )
    return written, sum(one not in listed for before in listed.values() for one in before)


def _feeds_of_missing(listed: dict[int, list[int]]) -> dict[int, list[int]]:
    """What each operator that something needs, but the table does not hold, is taken to need."""
    missing = sorted({one for before in listed.values() for one in before} - listed.keys())
    needed = {one for before in listed.values() for one in before}
    ends = [at for at in listed if at not in needed]
    found: dict[int, list[int]] = {}
    for at in missing:
        last = max((other for other in missing if other < at), default=-1)
        earlier = [other for other in listed if other < at]
        found[at] = [end for end in ends if last < end < at] or earlier[-1:]
    return found


def _elements(shape: Any) -> int:
    return math.prod(int(size) for size in str(shape).split(",") if size.strip())


def _write(folder: Path, device: str, kernels: list[dict[str, Any]], copies: pd.DataFrame) -> None:
    import pandas as pd

    card = {"schema_version": RECORDED_SCHEMA_VERSION, "name": device, "unit": "us", "source": SOURCE}
    (folder / "device.json").write_text(json.dumps(card, indent=1) + "\n")
    pd.DataFrame(kernels).to_csv(folder / "kernels.csv", index=False)
    rows = [
        {"from": "cpu" if target == "gpu" else "gpu", "to": target, "bytes": FLOAT_BYTES * int(elements), "latency": us}
        for target, elements, us in zip(copies["processor"], copies["elements"], copies["latency_us"], strict=True)
    ]
    pd.DataFrame(rows).to_csv(folder / "transfers.csv", index=False)
