"""Whole models left out, in every scenario: what their kernels predict beside what is measured under load.

    python benchmarks/own_scenarios.py --home FOLDER    (the records of own_device.py)

A model's latency on a float32 lane is predicted from its kernels, without any record of them, and from what stages of
the other models cost (as in own_device.py). A simulation of the scenario makes its figure of that: the median
(SingleStream), time per sample (Offline), a query's 99th percentile (MultiStream), time between arrivals at the highest
rate within five times the predicted latency (Server). A lane of one thread has a caller per core.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from common import write
from own_accuracy import read
from own_records import WAIT_S, lanes_here, load_zoo
from own_wholes import whole_models

from autotune import models
from autotune.api.workplace import Guarded, hold_device, open_workplace
from autotune.core import Candidate, Failure, Lane, Measurement, Scenario, SilentObserver, StageChoice
from autotune.graph import Graph, save_arrays
from autotune.planning import Aim, Bench, callers_plan
from autotune.processors import this_device
from autotune.profiler import decide
from autotune.profiler.load import Goal

LAUNCHES = 1
BOUND = 5.0
"""Server's bound over the predicted latency."""
SMALL = "squeezenet,mobilenet_v2,bert_mini,resnet50,inception_v3,yolo"


def aims(latency_us: float) -> list[Aim]:
    return [
        Aim(scenario=scenario, bound_us=BOUND * latency_us if scenario is Scenario.SERVER else 0.0)
        for scenario in Scenario
    ]


def measured_us(bench: Bench, candidate: Candidate, aim: Aim, latency_us: float) -> float | str:
    """The scenario's figure, median over launches; why there is none."""
    goals = []
    if aim.scenario.under_load:
        rate = candidate.callers * 1e6 / latency_us if aim.scenario is Scenario.SERVER else 0.0
        query_us = latency_us if aim.scenario is Scenario.SERVER else 8 * latency_us / candidate.callers
        goals = [Goal(scenario=aim.scenario, query_us=query_us, bound_us=aim.bound_us, rate_per_s=rate)]
    job = bench.job(candidate, str(aim.scenario))
    (results,) = decide([job], launches=LAUNCHES, deadline_s=120.0, goals=goals)
    found = [result.median_us for result in results if isinstance(result, Measurement)]
    failed = [result.message for result in results if isinstance(result, Failure)]
    return float(np.median(found)) if found else failed[0]


def rows_of(name: str, graph: Graph, latencies_us: dict[Lane, float], cores: int, work: Path) -> list[dict[str, Any]]:
    feeds = work / f"{name}.npz"
    save_arrays(feeds, models.sample_inputs(name, graph.inputs, count=1)[0])
    rows = []
    for lane, latency_us in latencies_us.items():
        callers = max(1, cores // max(1, lane.concurrency.threads))
        for aim in aims(latency_us):
            several = callers if aim.scenario is not Scenario.SINGLE_STREAM else 1
            whole = StageChoice(start=0, stop=len(graph.kernels), lane=lane)
            bench = Bench(graph, work=work / f"{name}-{aim.scenario}", feeds=feeds, scenario=aim.scenario)
            (timing,) = aim.forecast([callers_plan(latency_us / several, callers=several, alone_us=latency_us)])
            rows.append(
                {
                    "model": name,
                    "lane": str(lane),
                    "scenario": str(aim.scenario),
                    "callers": several,
                    "bound_us": aim.bound_us,
                    "predicted_us": aim.figure_us(timing),
                    "measured_us": measured_us(bench, Candidate(stages=(whole,), callers=several), aim, latency_us),
                }
            )
            print(rows[-1], flush=True)
    return rows


def summary_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median and worst relative error by scenario."""
    found = {}
    for scenario in map(str, Scenario):
        own = [row for row in rows if row["scenario"] == scenario and isinstance(row["measured_us"], float)]
        errors = [abs(row["predicted_us"] / row["measured_us"] - 1) for row in own]
        if errors:
            found[scenario] = {"rows": len(own), "median_error": float(np.median(errors)), "worst": max(errors)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True, help="of own_device.py's records")
    parser.add_argument("--models", default=SMALL)
    flags = parser.parse_args()
    wholes = whole_models(read(Path(flags.home), this_device()))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        place = stack.enter_context(open_workplace(Path(home)))
        graphs = load_zoo(flags.models.split(","), place.work)
        stack.enter_context(hold_device(place, Guarded(SilentObserver()), wait_s=WAIT_S))
        lanes = {str(lane): lane for lane in lanes_here(place) if lane.precision.is_reference}
        for name, graph in graphs.items():
            predicted = {
                lanes[row["lane"]]: 1e3 * row["predicted_ms"]
                for row in wholes
                if row["model"] == name and row["lane"] in lanes
            }
            rows += rows_of(name, graph, predicted, len(place.device.cores), place.work)
    print(write("own_scenarios", rows, **summary_of(rows)), summary_of(rows))


if __name__ == "__main__":
    main()
