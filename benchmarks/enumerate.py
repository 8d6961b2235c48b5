"""Fraction of the best of an enumerated space that the search reaches.

A space of at least 200 partitions (cuts × lanes) of one model is measured completely; then the search's plan is
measured beside the best feasible ones of the space, in fresh launches.

    python benchmarks/enumerate.py [--models squeezenet] [--tolerances 1e-3,3e-3,1e-2] [--positions 7]
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from autotune.api import SearchSettings, search
from autotune.api.clock import Budget
from autotune.api.task import Task, prepare_task
from autotune.core import Candidate, Failure, Lane, Measurement, Ratio, Scenario, StageChoice
from autotune.planning import Bench, segment_ranges, speedup
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler import Worker, decide, run_outputs, screen

BATCH = 4
LAUNCHES = 8


def best_lanes() -> list[Lane]:
    """One lane per processor and precision, with every core and, as in a partition, without spinning pools."""
    cores = this_device().cores
    lanes = [lane for processor in discover().processors for lane in lanes_of(processor, cores=cores)]
    wanted = [
        lane
        for lane in lanes
        if lane.concurrency.threads == len(cores) and (lane.processor != "cpu" or lane.concurrency.spinning is False)
    ]
    return wanted or lanes


def space(task: Task, lanes: list[Lane], positions: int) -> list[Candidate]:
    """Every assignment of lanes to the segments between about `positions` cuts, and each processor's other settings."""
    weight = np.array([use.kernel.flops + 1.0 for use in task.graph.kernels])
    ranges = segment_ranges(task.graph.cuts, weight, count=positions)
    found = {}
    for processor in discover().processors:
        for lane in lanes_of(processor, cores=this_device().cores):
            whole = Candidate(stages=(StageChoice(start=0, stop=len(task.graph.kernels), lane=lane),))
            found[whole.hash] = whole
    for choice in itertools.product(lanes, repeat=len(ranges)):
        stages: list[StageChoice] = []
        for (start, stop), lane in zip(ranges, choice, strict=True):
            first = stages.pop().start if stages and stages[-1].lane == lane else start
            stages.append(StageChoice(start=first, stop=stop, lane=lane))
        candidate = Candidate(stages=tuple(stages))
        found[candidate.hash] = candidate
    return list(found.values())


def measure_space(task: Task, bench: Bench, worker: Worker, candidates: list[Candidate]) -> list[dict[str, Any]]:
    """Output error on both halves of the samples and screened time of every candidate, beside the same reference."""
    rows: list[dict[str, Any]] = []
    reference, level = bench.job(candidates[0], "reference"), 0.0
    for at in range(0, len(candidates), BATCH):
        part = candidates[at : at + BATCH]
        jobs = [reference, *(bench.job(candidate, candidate.hash) for candidate in part)]
        first, *results = screen(jobs, rounds=5, round_s=0.01, seed=at, deadline_s=300.0)
        now = first.median_us if isinstance(first, Measurement) else level
        level = level or now
        for candidate, job, result in zip(part, jobs[1:], results, strict=True):
            errors = []
            for samples in (task.search_samples, task.held_out):
                outputs = run_outputs(job, str(samples.path), deadline_s=120.0, worker=worker)
                errors.append(1.0 if isinstance(outputs, Failure) else task.error(outputs, samples).relative_rms)
            measured = result.median_us * level / now if isinstance(result, Measurement) else None
            rows.append({"candidate": candidate, "measured_us": measured, "error": max(errors)})
    return rows


def fraction_of_best(launches: list[list[Measurement | Failure]]) -> Ratio | None:
    """Speed of the search's plan (the first job) over the best of the space, chosen on other launches."""
    ratios = {at: speedup(launches[at][::2], launches[0][::2]) for at in range(1, len(launches))}
    known = {at: ratio.ratio for at, ratio in ratios.items() if ratio is not None}
    best = min(known, key=lambda at: known[at], default=0)
    return speedup(launches[best][1::2], launches[0][1::2])


def one(model: str, tolerances: list[float], positions: int, home: Path) -> list[dict[str, Any]]:
    found = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work = Path(folder)
        worker = stack.enter_context(Worker())
        settings = SearchSettings(home=home, track=False)
        task = prepare_task(model, settings, work, worker, Budget(90.0))
        bench = Bench(task.graph, work=work / "stages", feeds=task.feeds, scenario=Scenario.SINGLE_STREAM)
        lanes = best_lanes()
        candidates = space(task, lanes, positions or math.ceil(math.log(200) / math.log(max(2, len(lanes)))))
        rows = measure_space(task, bench, worker, candidates)
        for tolerance in tolerances:
            feasible = [row for row in rows if row["measured_us"] and row["error"] <= tolerance]
            best = sorted(feasible, key=lambda row: row["measured_us"])[:3]
            result = search(model, SearchSettings(home=home, track=False, budget_s=60.0, tolerance=tolerance))
            jobs = [bench.job(result.plan.candidate, "search")]
            jobs += [bench.job(row["candidate"], f"best{at}") for at, row in enumerate(best)]
            launches = decide(jobs, launches=LAUNCHES, runs=15, deadline_s=600.0)
            fraction = fraction_of_best(launches)
            found.append(
                {
                    "model": model,
                    "tolerance": tolerance,
                    "space": len(rows),
                    "feasible": len(feasible),
                    "fraction_of_best": fraction.ratio if fraction else None,
                    "interval": [fraction.low, fraction.high] if fraction else None,
                    "search_plan": str(result.plan.candidate),
                    "search_error": result.plan.error.relative_rms if result.plan.error else None,
                    "best_plan": str(best[0]["candidate"]) if best else None,
                    "measurements": result.cost["device_measurements"],
                }
            )
            print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="squeezenet,mobilenet_v2,bert_mini")
    parser.add_argument("--tolerances", default="1e-3,3e-3,1e-2")
    parser.add_argument("--positions", type=int, default=0, help="segments; 0: as many as make 200 plans")
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        for model in flags.models.split(","):
            rows += one(model, [float(t) for t in flags.tolerances.split(",")], flags.positions, Path(home))
            fractions = [row["fraction_of_best"] for row in rows if row["fraction_of_best"]]
            write("enumerate", rows, least=min(fractions), median=float(np.median(fractions)))


if __name__ == "__main__":
    main()
