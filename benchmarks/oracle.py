"""Fraction of the best of an enumerated space that the search reaches where lanes may work at the same time.

Everything is measured: each processor alone (with callers and streams in Offline), chains of all-core lanes, and, for
every two lanes on one half of the cores each, branches, divided chains, and in Offline pipelines. Then the search's
plan is measured beside the best feasible ones, in fresh launches; what it measured on its way is counted. The first
search starts from nothing, the next ones know its kernels. A results file for each scenario.

    python benchmarks/oracle.py [--model squeezenet] [--scenarios SingleStream,Offline] [--tolerances 1e-2,1e-3]
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import OpenModel, offered, open_model, write
from spaces import (
    Space,
    all_core_lanes,
    branches,
    chains,
    divided,
    heaviest_sites,
    judge,
    measure,
    pipelines,
    teams,
    whole_models,
)

from autotune.api import SearchSettings, parse_duration, search
from autotune.core import Candidate, Scenario
from autotune.processors import this_device


def space_of(model: OpenModel, scenario: Scenario, flags: argparse.Namespace) -> Iterator[Candidate]:
    """All candidates, each with the number of requests under way that its form needs."""
    graph, offline = model.task.graph, scenario is Scenario.OFFLINE
    cores = len(this_device().cores)
    yield from whole_models(graph, callers=(1, cores, cores + 1) if offline else (1,))
    alone = cores if offline else 1
    yield from (replace(found, callers=alone) for found in chains(graph, all_core_lanes(), flags.positions))
    sites = heaviest_sites(graph)
    for team in teams(graph):
        together = [*branches(team, flags.groups), *divided(team, sites)]
        if offline:
            together += pipelines(graph, team, flags.pipelines)
        yield from (replace(found, callers=3 if offline else 1) for found in together)


def one(space: Space, model: str, scenario: Scenario, tolerance: float, budget_s: float, home: Path) -> dict[str, Any]:
    settings = SearchSettings(scenario=scenario, home=home, track=False, budget_s=budget_s, tolerance=tolerance)
    found = search(model, settings)
    judged = judge(space, found.plan.candidate, tolerance)
    fraction, cost = judged.fraction, found.cost
    return {
        "model": model,
        "scenario": str(scenario),
        "tolerance": tolerance,
        "space": space.size,
        "ran": len(space.times_us),
        "forms": {
            source: {"candidates": count, "best_us": space.best_us(source, tolerance)}
            for source, count in Counter(map(space.source, space.times_us)).items()
        },
        "fraction_of_best": fraction.ratio if fraction else None,
        "interval": [fraction.low, fraction.high] if fraction else None,
        "search_plan": str(found.plan.candidate),
        "search_source": found.plan.source,
        "best_plan": str(judged.best),
        "best_source": space.source(judged.best) if judged.best else None,
        "parallel_measured": found.parallel.tried,
        "kernels_known_before": found.reused[0] / max(1, found.reused[1]),
        "measurements": cost["device_measurements"],
        "measurements_of_space": cost["device_measurements"] / space.size,
        "measuring_s": cost["profile_s"] + cost["verify_s"],
        "enumerating_s": space.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="squeezenet")
    parser.add_argument("--scenarios", default="SingleStream,Offline")
    parser.add_argument("--tolerances", default="1e-2,1e-3")
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--positions", type=int, default=5, help="segments of chains")
    parser.add_argument("--groups", type=int, default=3, help="groups of branches that are placed alike")
    parser.add_argument("--pipelines", type=int, default=8, help="segments between whose cuts a pipeline is divided")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        for scenario in offered(flags.scenarios):
            rows: list[dict[str, Any]] = []
            with open_model(flags.model, scenario, Path(home)) as model:
                space = measure(model, space_of(model, scenario, flags))
                print(f"{flags.model} {scenario}: {space.size} candidates in {space.seconds:.0f} s", flush=True)
                for tolerance in map(float, flags.tolerances.split(",")):
                    budget_s = parse_duration(flags.budget)
                    rows.append(one(space, flags.model, scenario, tolerance, budget_s, Path(home)))
                    print(rows[-1], flush=True)
                    write(f"oracle_{str(scenario).lower()}", rows, **summarise(rows))


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    fractions = [row["fraction_of_best"] for row in rows if row["fraction_of_best"]]
    return {
        "searches": len(rows),
        "fraction_of_best_least": min(fractions, default=None),
        "measurements_of_space_most": max(row["measurements_of_space"] for row in rows),
        "measuring_time_of_space_most": max(row["measuring_s"] / row["enumerating_s"] for row in rows),
        "parallel_measured_most": max(row["parallel_measured"] for row in rows),
    }


if __name__ == "__main__":
    main()
