"""How much of a launch is worth its time: the spread over launches of how two lanes compare, by the runs in each.

    python benchmarks/launches.py [--model yolo] [--launches 12]

ONNX Runtime's default beside every other processor at float32; launches of all designs take turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import write
from noise import jobs_of

from autotune.api.deciding import DRAIN_S
from autotune.core import DEFAULT_LANE, Measurement
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler import decide

DESIGNS = {"20 runs, 0.4 s": (20, 0.4), "20 runs, 0.2 s": (20, 0.2), "4 runs": (4, 0.4)}
"""Most runs of each job in a launch, and most seconds of them."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="yolo")
    parser.add_argument("--launches", type=int, default=12)
    flags = parser.parse_args()
    cores = this_device().cores
    lanes = [DEFAULT_LANE, *(lanes_of(processor, cores=cores)[0] for processor in discover().processors)]
    times: dict[str, list[list[float]]] = {design: [] for design in DESIGNS}
    spent_s = dict.fromkeys(DESIGNS, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [replace(jobs_of(flags.model, lane, Path(folder))[0], name=str(lane)) for lane in lanes]
        for launch in range(flags.launches):
            for design, (runs, cap_s) in DESIGNS.items():
                begin = time.monotonic()
                found = decide(
                    jobs, launches=1, runs=runs, time_cap_s=cap_s, drain_s=DRAIN_S, seed=launch, deadline_s=300.0
                )
                spent_s[design] += time.monotonic() - begin
                results = [one for (one,) in found]
                times[design].append([r.median_us if isinstance(r, Measurement) else np.nan for r in results])
    rows: list[dict[str, Any]] = []
    for design, launches in times.items():
        ratios = np.log(np.array(launches)[:, 1:] / np.array(launches)[:, :1])
        for lane, spread, ratio in zip(lanes[1:], ratios.std(axis=0, ddof=1), ratios.mean(axis=0), strict=True):
            rows.append(
                {
                    "design": design,
                    "lane": str(lane),
                    "over_default": float(np.exp(-ratio)),
                    "spread": float(spread),
                    "launch_s": spent_s[design] / flags.launches,
                }
            )
            print(
                f"{design:16} {lane!s:22} {np.exp(-ratio):.3f} x the default, launches differ by {spread:.1%}, "
                f"{rows[-1]['launch_s']:.1f} s each",
                flush=True,
            )
    print(write("launches", rows, model=flags.model, launches=flags.launches))


if __name__ == "__main__":
    main()
