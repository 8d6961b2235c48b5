"""Placement on recorded phones: against each processor alone, HEFT, and the exact optimum where a solver proves it.

python benchmarks/recorded.py --data FOLDER [--seconds 10] [--prove 30] [--provable 200]

FOLDER holds hope_ops.parquet and hope_transfer.parquet; without them there is nothing to do. The solver gets
`--prove` seconds for a graph of up to `--provable` kernels: its program has a binary variable for every two kernels
that could meet, a hundred thousand of them for the largest graphs. About seven minutes.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from autotune.api.recorded import PREFIX, search_recorded
from autotune.datasets.hope import import_hope
from autotune.datasets.recorded import read_recorded


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--prove", type=float, default=30.0)
    parser.add_argument("--provable", type=int, default=200, help="most kernels for the solver")
    parser.add_argument("--models", default="")
    flags = parser.parse_args()
    ops, transfers = (Path(flags.data) / name for name in ("hope_ops.parquet", "hope_transfer.parquet"))
    if not (ops.exists() and transfers.exists()):
        print(f"{flags.data} holds no hope_ops.parquet and hope_transfer.parquet: skipped")
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        report = import_hope(ops, transfers, name)
        for device, folder in report.folders.items():
            for model, recorded in read_recorded(folder).models.items():
                if flags.models and model not in flags.models.split(","):
                    continue
                prove_s = flags.prove if len(recorded.kernels) <= flags.provable else 0.0
                found = search_recorded(f"{PREFIX}{folder}", model, seconds=flags.seconds, prove_s=prove_s)
                placed = found.placement.schedule.makespan_us
                row = {
                    "device": device,
                    "model": model,
                    "kernels": len(found.graph.names),
                    "single_ms": {
                        processor: us / 1e3 if math.isfinite(us) else None
                        for processor, us in zip(found.graph.processors, found.placement.single, strict=True)
                    },
                    "heft_ms": found.placement.heft_us / 1e3,
                    "placed_ms": placed / 1e3,
                    "optimum_ms": found.optimum_us / 1e3 if found.optimum_us is not None else None,
                    "bound_ms": found.bound_us / 1e3,
                    "over_best_single": found.speedup,
                    "over_heft": found.placement.heft_us / placed,
                    "above_optimum": found.above_optimum,
                    "above_bound": found.above_bound,
                    "evaluations": found.placement.evaluations,
                    "seconds": found.seconds,
                }
                rows.append(row)
                print(row, flush=True)
    proven = [row["above_optimum"] for row in rows if row["above_optimum"] is not None]
    path = write(
        "recorded",
        rows,
        graphs=len(rows),
        guessed_edges=report.guessed_edges,
        proven=len(proven),
        above_optimum_worst=max(proven, default=None),
        above_bound_median=float(np.median([row["above_bound"] for row in rows])),
        over_heft_least=min(row["over_heft"] for row in rows),
        over_heft_median=float(np.median([row["over_heft"] for row in rows])),
        over_best_single_median=float(np.median([row["over_best_single"] for row in rows if row["over_best_single"]])),
    )
    print(path)


if __name__ == "__main__":
    main()
