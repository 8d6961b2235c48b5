"""Zoo × scenarios: the search's plan beside each processor alone with its own streams and pinning, and other tools.

Every launch measures, one after the other: ONNX Runtime's default, the plan, every single processor at its best threads
and streams (from the search's baselines) and with a pinned stream per core, what Olive tuned, and OpenVINO's own
hint for the scenario. Either half of the launches chooses the best single processor, and the other reports the plan's
gain over it. What is the same as the plan is not measured twice.

Under load (MultiStream, Server) every launch drives all of them in the scenario, and OpenVINO's hints are left out: its
program has no such load. Server's bound is a multiple of the default's latency alone, known from the SingleStream row.

    python benchmarks/concurrency.py [--models squeezenet] [--scenarios Offline] [--budget 60s]
        [--benchmark-app PATH of OpenVINO's] [--olive PYTHON of its environment]
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from common import OpenModel, geometric_mean, offered, open_model, read, write
from peers import benchmark_app, hint_of, olive
from search_quality import row_of

from autotune.api import SearchResult, SearchSettings, parse_duration, search
from autotune.api.plans import goal_for
from autotune.core import DEFAULT_LANE, Candidate, Concurrency, Failure, Lane, Measurement, Ratio, Scenario, StageChoice
from autotune.planning import cross_fitted, speedup
from autotune.processors import SessionSpec, this_device
from autotune.profiler import Job, JobStage, decide
from autotune.profiler.load import Goal

MODELS = "mobilenet_v2,squeezenet,bert_mini,yolo,resnet50"
PLAN, DEFAULT = "plan", "default"
PINNED = "pinned:"
Tuned = dict[str, SessionSpec | Failure]
Times = dict[str, list[Measurement | Failure]]


def singles(result: SearchResult, kernels: int) -> dict[str, Candidate]:
    """Every processor alone at its best feasible setting; with several requests also a pinned stream on every core."""
    found: dict[str, Candidate] = {}
    seen: set[str] = set()
    for baseline in result.plan.baselines:  # fastest first
        candidate = baseline.candidate
        if candidate is None or not baseline.feasible or baseline.name == DEFAULT or baseline.measured is None:
            continue
        lane = candidate.stages[0].lane
        if lane.processor in seen:
            continue
        seen.add(lane.processor)
        found[baseline.name] = candidate
        cores = this_device().cores
        if result.plan.scenario is not Scenario.SINGLE_STREAM and lane.on_cpu and len(cores) > 1:
            shared = lane.processor != "cpu"  # OpenVINO's streams share the threads; others' have them each
            setting = Concurrency(threads=len(cores) if shared else 1, cores=cores, streams=len(cores))
            pinned = Lane(processor=lane.processor, precision=lane.precision, concurrency=setting)
            stage = StageChoice(start=0, stop=kernels, lane=pinned)
            found[f"{PINNED}{pinned}"] = Candidate(stages=(stage,), callers=len(cores))
    return found


def jobs_of(model: OpenModel, result: SearchResult, tuned: SessionSpec | None) -> tuple[dict[str, Job], list[str]]:
    """What is measured here, by name, and which singles are the plan itself."""
    bench, plan = model.bench, result.plan
    callers = 1 if plan.scenario is Scenario.SINGLE_STREAM else len(this_device().cores)
    whole = (JobStage(file=str(model.task.graph.source), lane=DEFAULT_LANE),)
    default = next(baseline for baseline in plan.baselines if baseline.name == DEFAULT).candidate
    jobs = {PLAN: bench.job(plan.candidate, PLAN)}
    same = [DEFAULT] if default == plan.candidate else []
    if default is not None and not same:
        jobs[DEFAULT] = replace(bench.job(default, DEFAULT), stages=whole)
    for name, candidate in singles(result, len(model.task.graph.kernels)).items():
        if candidate == plan.candidate:
            same.append(name)
        else:
            jobs[name] = bench.job(candidate, name)
    if tuned is not None:
        jobs["olive"] = replace(jobs[PLAN], name="olive", stages=whole, spec=tuned, callers=callers, batch=1)
    return jobs, same


def launched(
    jobs: Mapping[str, Job], goals: Mapping[str, Goal], peer: Callable[[], Measurement | Failure] | None, launches: int
) -> Times:
    """Every job in fresh processes, pinned ones in one of their own: OpenVINO's threads are the process's."""
    times: Times = {name: [] for name in jobs}
    pinned = {name for name, job in jobs.items() if any(stage.lane.concurrency.cores for stage in job.stages)}
    for launch in range(launches):
        for group in (set(jobs) - pinned, pinned):
            own = [name for name in jobs if name in group]
            if not own:
                continue
            asked = [goals[name] for name in own] if goals else ()
            found = decide(
                [jobs[name] for name in own], launches=1, seed=launch, time_cap_s=0.6, deadline_s=300.0, goals=asked
            )
            for name, results in zip(own, found, strict=True):
                times[name] += results
        if peer is not None:
            times.setdefault("openvino hint", []).append(peer())
    return times


def over_best_single(times: Times, same: list[str]) -> dict[str, Any]:
    """The plan over the best single processor: either half of the launches chooses it, the other reports on it."""
    names = [name for name in times if name.startswith(("single:", PINNED, DEFAULT))] + ([PLAN] if same else [])
    logs = {name: own for name in {*names, PLAN} if (own := _logs(times[name]))}
    names = [name for name in names if name in logs]

    def best(at: range) -> str:
        return min(names, key=lambda name: sum(logs[name][one] for one in at))

    if not names or PLAN not in logs:
        return {"name": "", **_ratio(None), "is_the_plan": False}
    count = len(logs[PLAN])
    gain = cross_fitted(count, best, lambda name, at: logs[name][at] - logs[PLAN][at])
    found = best(range(count))
    return {"name": same[0] if found == PLAN else found, **_ratio(gain), "is_the_plan": found == PLAN}


def _logs(results: list[Measurement | Failure]) -> list[float]:
    """Of every launch; empty where one failed."""
    found = [math.log(result.median_us) for result in results if isinstance(result, Measurement)]
    return found if len(found) == len(results) else []


def _ratio(gain: Ratio | None) -> dict[str, float | None]:
    if gain is None:
        return {"ratio": None, "low": None, "high": None}
    return {"ratio": gain.ratio, "low": gain.low, "high": gain.high}


def bound_us(name: str, rows: list[dict[str, Any]], times: float) -> float:
    """Server's bound: a multiple of what ONNX Runtime's default takes alone."""
    for row in rows:
        if (row["model"], row["scenario"]) == (name, Scenario.SINGLE_STREAM):
            alone_ms = next(own["latency_ms"]["p50"] for own in row["baselines"] if own["name"] == DEFAULT)
            return float(times * alone_ms * 1e3)
    sys.exit(f"Server needs the SingleStream row of {name}: measure it first, with --keep from then on")


def one(
    name: str,
    scenario: Scenario,
    flags: argparse.Namespace,
    home: Path,
    tuned: Tuned,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    begin = time.monotonic()
    settings = SearchSettings(
        scenario=scenario,
        latency_bound_us=bound_us(name, rows, flags.bound) if scenario is Scenario.SERVER else None,
        tolerance=flags.tolerance,
        budget_s=None if scenario.under_load else parse_duration(flags.budget),
        home=home,
        track=False,
    )
    result = search(name, settings)
    searched_s = time.monotonic() - begin
    with open_model(name, scenario, home) as model:
        graph = model.task.graph
        notes: list[str] = []
        if flags.olive and name not in tuned:
            threads = range(1, len(this_device().cores) + 1)
            tuned[name] = olive(flags.olive, graph.source, graph.inputs, threads=threads)
        options = tuned.get(name)
        if isinstance(options, Failure):
            notes.append(options.message)
            options = None
        peer = (
            partial(
                benchmark_app,
                flags.benchmark_app,
                graph.source,
                hint_of(scenario),
                precision="f32",
                seconds=flags.hint_seconds,
            )
            if flags.benchmark_app and not scenario.under_load
            else None
        )
        jobs, same = jobs_of(model, result, options)
        goals = {key: goal_for(result.plan, job) for key, job in jobs.items()} if scenario.under_load else {}
        times = launched(jobs, goals, peer, flags.launches)
    failed = {key: found.message for key, own in times.items() for found in own if isinstance(found, Failure)}
    return {
        **row_of(result, name, wall_s=searched_s),
        "median_us": {key: _median(own) for key, own in times.items()},
        "same_as_plan": same,
        "plan_over": {key: _ratio(speedup(own, times[PLAN])) for key, own in times.items() if key != PLAN},
        "plan_over_best_single": over_best_single(times, same),
        "olive": options.to_json() if options is not None else None,
        "notes": [*notes, *(f"{key}: {message}" for key, message in failed.items())],
        "launches": flags.launches,
        "row_s": time.monotonic() - begin,
    }


def _median(results: list[Measurement | Failure]) -> float | None:
    medians = sorted(result.median_us for result in results if isinstance(result, Measurement))
    return medians[len(medians) // 2] if medians else None


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        own = [row for row in rows if row["scenario"] == scenario]
        ratios = [row["plan_over_best_single"]["ratio"] for row in own]
        summary[scenario] = {
            "models": len(own),
            "over_default": geometric_mean(
                [1.0 if DEFAULT in row["same_as_plan"] else _over(row, DEFAULT) for row in own]
            ),
            "over_best_single": geometric_mean(ratios),
            "over_best_single_least": min((ratio for ratio in ratios if ratio), default=None),
            "over_openvino_hint": geometric_mean([_over(row, "openvino hint") for row in own]),
            "over_olive": geometric_mean([_over(row, "olive") for row in own]),
            "sources": {
                source: sum(row["source"] == source for row in own) for source in {row["source"] for row in own}
            },
            "parallel_measured_most": max(row["parallel"]["tried"] for row in own),
        }
    return summary


def _over(row: dict[str, Any], name: str) -> float | None:
    return (row["plan_over"].get(name) or {}).get("ratio")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--scenarios", default=",".join(Scenario))
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--bound", type=float, default=5.0, help="of Server, in latencies of the default alone")
    parser.add_argument("--launches", type=int, default=6)
    parser.add_argument("--benchmark-app", default="", help="OpenVINO's program of that name, of another environment")
    parser.add_argument("--hint-seconds", type=float, default=2.0, help="of each of its launches")
    parser.add_argument("--olive", default="", help="Python of an environment with olive-ai, onnxruntime and psutil")
    parser.add_argument("--keep", action="store_true", help="rows of other models and scenarios that are there")
    parser.add_argument("--name", default="concurrency")
    flags = parser.parse_args()
    for tool, path in (("OpenVINO's hints", flags.benchmark_app), ("Olive", flags.olive)):
        if not path:
            print(f"{tool} are left out: no --{'olive' if tool == 'Olive' else 'benchmark-app'}", file=sys.stderr)
    scenarios, chosen = offered(flags.scenarios), flags.models.split(",")
    rows = [
        row
        for row in read(flags.name)
        if flags.keep and (row["model"] not in chosen or row["scenario"] not in scenarios)
    ]
    tuned: Tuned = {}
    with tempfile.TemporaryDirectory() as home:
        for model in chosen:
            for scenario in scenarios:
                rows.append(one(model, scenario, flags, Path(home), tuned, rows))
                last = rows[-1]
                print(
                    model,
                    scenario,
                    last["verdict"]["winner"],
                    last["source"],
                    last["plan_over_best_single"],
                    flush=True,
                )
                print({name: last["plan_over"][name]["ratio"] for name in last["plan_over"]}, flush=True)
                write(flags.name, rows, **summarise(rows))


if __name__ == "__main__":
    main()
