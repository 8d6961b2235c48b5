"""Fraction of the best of an enumerated space that the search reaches: chains of lanes with every core, SingleStream.

A space of at least 200 partitions (cuts × lanes) of one model is measured completely; then the search's plan is
measured beside the best feasible ones of the space, in fresh launches. `oracle.py` does it for parallel lanes.

    python benchmarks/enumerate.py [--models squeezenet] [--tolerances 1e-3,3e-3,1e-2] [--positions 7]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import open_model, write
from spaces import all_core_lanes, chains, judge, measure, whole_models

from autotune.api import SearchSettings, search
from autotune.core import Scenario

LEAST = 200


def one(model: str, tolerances: list[float], positions: int, home: Path) -> list[dict[str, Any]]:
    found = []
    with open_model(model, Scenario.SINGLE_STREAM, home) as opened:
        lanes, graph = all_core_lanes(), opened.task.graph
        segments = positions or math.ceil(math.log(LEAST) / math.log(max(2, len(lanes))))
        space = measure(opened, [*whole_models(graph), *chains(graph, lanes, segments)])
        for tolerance in tolerances:
            result = search(model, SearchSettings(home=home, track=False, budget_s=60.0, tolerance=tolerance))
            judged = judge(space, result.plan.candidate, tolerance)
            fraction = judged.fraction
            found.append(
                {
                    "model": model,
                    "tolerance": tolerance,
                    "space": space.size,
                    "fraction_of_best": fraction.ratio if fraction else None,
                    "interval": [fraction.low, fraction.high] if fraction else None,
                    "search_plan": str(result.plan.candidate),
                    "search_error": result.plan.error.relative_rms if result.plan.error else None,
                    "best_plan": str(judged.best),
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
