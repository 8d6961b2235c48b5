"""A/A: how often two equal plans are called different by the rules that decide a search.

One session may replace another that is as simple when it is faster on half of the launches: it is called different when
the interval of the other half excludes 1. A partition replaces a single processor only if that interval is above 1.

python benchmarks/noise.py [--comparisons 40] [--launches 6]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import write

from autotune import models
from autotune.api.deciding import DRAIN_S, MIN_LAUNCHES, RUNS_PER_LAUNCH, TIME_CAP_S
from autotune.core import DEFAULT_LANE, Failure, Lane, Measurement
from autotune.graph import load, save_arrays
from autotune.planning import calm, decide_winner, speedup, undisturbed
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler import Job, JobStage, decide

MODELS = ("squeezenet", "mobilenet_v2", "bert_mini")


def jobs_of(name: str, lane: Lane, folder: Path) -> list[Job]:
    path = folder / f"{name}.onnx"
    if not path.exists():
        onnx.save(models.build(name), str(path))
    graph = load(path)
    feeds = folder / f"{name}.npz"
    save_arrays(feeds, models.sample_inputs(name, graph.inputs, count=1)[0])
    job = Job(
        name="a",
        stages=(JobStage(file=str(path), lane=lane),),
        outputs=tuple(tensor.name for tensor in graph.outputs),
        feeds=str(feeds),
    )
    return [job, replace(job, name="b")]


def launched(jobs: list[Job], launches: int, *, seed: int) -> dict[str, list[Measurement | Failure]]:
    """Both jobs in fresh launches, as a search decides."""
    results = decide(
        jobs,
        launches=launches,
        runs=RUNS_PER_LAUNCH,
        drain_s=DRAIN_S,
        seed=seed,
        deadline_s=300.0,
        time_cap_s=TIME_CAP_S,
    )
    return dict(zip((job.name for job in jobs), results, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--comparisons", type=int, default=40)
    parser.add_argument("--launches", type=int, default=6)
    flags = parser.parse_args()
    cores = this_device().cores
    lanes = [DEFAULT_LANE, *(lanes_of(processor, cores=cores)[-1] for processor in discover().processors)]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for at in range(flags.comparisons):
            name, lane = MODELS[at % len(MODELS)], lanes[at // len(MODELS) % len(lanes)]
            jobs = jobs_of(name, lane, Path(folder))
            times = launched(jobs, flags.launches, seed=at)
            lost = flags.launches - len(undisturbed(times))
            if lost:
                again = launched(jobs, lost, seed=at + 1000)
                times = calm({job: times[job] + again[job] for job in times}, least=MIN_LAUNCHES)
            as_single = decide_winner(times, ranks=[["a"], ["b"]], against=["a"])
            gain = as_single.over["a"]
            as_partition = decide_winner(times, ranks=[["a"], [], ["b"]], against=["a"])
            ratio = speedup(times["a"], times["b"])
            rows.append(
                {
                    "model": name,
                    "lane": str(lane),
                    "exchanged_single": as_single.winner != "a",
                    "different_single": as_single.winner != "a" and not gain.low <= 1.0 <= gain.high,
                    "different_partition": as_partition.winner != "a",
                    "disturbed_launches": lost,
                    "ratio": ratio.ratio if ratio else None,
                }
            )
            print(rows[-1], flush=True)
    singles = sum(row["different_single"] for row in rows)
    partitions = sum(row["different_partition"] for row in rows)
    spread = float(np.std([np.log(row["ratio"]) for row in rows if row["ratio"]]))
    rates = {"rate_single": singles / len(rows), "rate_partition": partitions / len(rows)}
    path = write("noise", rows, comparisons=len(rows), **rates, spread_of_ratio=spread)
    print(f"of {len(rows)}: {singles} called different as single processors, {partitions} as partitions; {path}")


if __name__ == "__main__":
    main()
