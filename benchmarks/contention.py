"""How well contention is predicted on models left out: co-run latency of stages, throughput of two-lane plans.

python benchmarks/contention.py
python benchmarks/contention.py --models squeezenet bert_mini --profile-s 20 --rounds 3
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from autotune.api import SearchSettings, profile, profile_contention
from autotune.api.contention import lane_pairs
from autotune.api.task import load_model
from autotune.api.workplace import open_workplace
from autotune.core import CoRunMeasurement, Failure, Lane, Measurement, TensorSpec
from autotune.core.codec import encode
from autotune.datasets import Store
from autotune.graph import Graph, StageFile, extract, random_inputs
from autotune.planning import segment_ranges
from autotune.predictor import SlowdownPredictor, evaluate_slowdowns
from autotune.predictor.training import unseen_without
from autotune.processors.cores import pin_thread
from autotune.profiler import CoRunPair, CoRunResult, Side, measure_coruns
from autotune.runtime import StageRunner
from autotune.simulator import SlowdownTable, StagedPlan, offline, slowdowns

MODELS = ("squeezenet", "mobilenet_v2", "bert_mini", "yolo", "resnet50")
STAGES = 3
STAGE_PAIRS = ((0, 1), (1, 2), (2, 0))
ROUNDS, ROUND_S = 5, 0.1
PREDICTED, LEVEL, NONE = "predicted", "mean slowdown", "no slowdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the zoo, cut in stages for the test and in two for plans."""

    name: str
    graph: Graph
    stages: tuple[StageFile, ...]
    halves: tuple[StageFile, ...]
    whole: StageFile
    weight: np.ndarray[Any, Any]
    measured_us: dict[str, np.ndarray[Any, Any]]
    """Processor -> µs of each kernel on one core, NaN where it was not measured."""

    def kernel_us(self, processor: str) -> np.ndarray[Any, Any]:
        """µs of each kernel; gaps by work, at the level of what was measured."""
        us = self.measured_us.get(processor, np.full(len(self.weight), np.nan))
        level = np.nanmedian(us / self.weight) if np.isfinite(us).any() else 1.0
        return np.where(np.isfinite(us), us, self.weight * level)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What is known of contention without some models."""

    predictor: SlowdownPredictor
    mean: dict[tuple[str, str], float]


class Knowledge:
    """Records of the profile, and predictors that have not seen a model."""

    def __init__(self, store: Store) -> None:
        self.records = store.coruns()
        self.groups = store.groups()
        self._signatures = [{k.signature for k in (*r.victim, *r.beside)} for r in self.records]
        self._known: dict[frozenset[str], LeftOut] = {}

    def without(self, *names: str) -> LeftOut:
        """Learnt from co-runs that have no kernel in common with these models."""
        key = frozenset(names)
        if key not in self._known:
            out = unseen_without(self.groups, key)
            rest = [r for r, own in zip(self.records, self._signatures, strict=True) if not own & out]
            slow: dict[tuple[str, str], list[float]] = {}
            for record in rest:
                if isinstance(record.result, CoRunMeasurement):
                    pair = str(record.victim_lane), str(record.beside_lane)
                    slow.setdefault(pair, []).append(record.result.slowdown)
            mean = {pair: max(1.0, float(np.mean(found))) for pair, found in slow.items()}
            self._known[key] = LeftOut(predictor=SlowdownPredictor.fit(rest), mean=mean)
        return self._known[key]


def load(name: str, folder: Path, store: Store) -> Model:
    """The model, its files and its kernels' times as profiled."""
    folder.mkdir(parents=True)
    graph, _, _ = load_model(name, SearchSettings(), folder)
    kernels = [use.kernel for use in graph.kernels]
    weight = np.array([k.flops / 20 + k.bytes_read + k.bytes_written + 1 for k in kernels], dtype=np.float64)
    files = [
        extract(graph, segment_ranges(graph.cuts, weight, count=count), folder / f"in{count}")
        for count in (STAGES, 2, 1)
    ]
    known: dict[str, dict[str, float]] = {}
    for record in store.kernels(signatures={k.signature for k in kernels}):
        if isinstance(record.result, Measurement):
            known.setdefault(record.lane.processor, {})[record.kernel.signature] = record.result.median_us
    return Model(
        name=name,
        graph=graph,
        stages=files[0],
        halves=files[1],
        whole=files[2][0],
        weight=weight,
        measured_us={p: np.array([us.get(k.signature, np.nan) for k in kernels]) for p, us in known.items()},
    )


def table(models: Sequence[Model], lanes: Sequence[Lane], predictor: SlowdownPredictor) -> SlowdownTable:
    """Kernels of one model behind those of the other."""
    kernels = [use.kernel for model in models for use in model.graph.kernels]
    latency = {lane: np.concatenate([model.kernel_us(lane.processor) for model in models]) for lane in lanes}
    return SlowdownTable(kernels, latency, predictor)


def side(model: Model, stage: StageFile, lane: Lane) -> Side:
    """A stage on a lane."""
    kernels = tuple(use.kernel for use in model.graph.kernels[stage.start : stage.stop])
    return Side(kernels=kernels, lane=lane, file=str(stage.path), inputs=stage.inputs)


def stage_rows(
    models: Sequence[Model], lanes: tuple[Lane, Lane], known: Knowledge, rounds: int
) -> list[dict[str, Any]]:
    """Pairs of stages of each model, and of each model and the next one: predicted before they are measured."""
    plan: list[tuple[Model, StageFile, Model, StageFile]] = []
    for at, model in enumerate(models):
        other = models[(at + 1) % len(models)]
        plan += [(model, model.stages[a], model, model.stages[b]) for a, b in STAGE_PAIRS if b < len(model.stages)]
        plan += [(model, model.stages[0], other, other.stages[-1])]
    results: dict[int, CoRunResult] = {}
    pairs = [CoRunPair(first=side(a, s, lanes[0]), second=side(b, t, lanes[1])) for a, s, b, t in plan]
    measure_coruns(pairs, rounds=rounds, round_s=0.03, deadline_s=600, on_result=results.__setitem__)
    rows = []
    for at, (a, s, b, t) in enumerate(plan):
        result = results.get(at)
        if result is None or isinstance(result, Failure):
            print(f"  {a.name} beside {b.name} on {lanes[0]} and {lanes[1]}: {result or 'no time'}")
            continue
        left_out = known.without(a.name, b.name)
        both = table([a, b], lanes, left_out.predictor)
        one = list(range(s.start, s.stop))
        two = [len(a.graph.kernels) + k for k in range(t.start, t.stop)]
        for own, victim, its, beside, measured in (
            (lanes[0], one, lanes[1], two, result[0]),
            (lanes[1], two, lanes[0], one, result[1]),
        ):
            guesses = {
                PREDICTED: both.slowdown(victim, own, beside, its),
                LEVEL: left_out.mean.get((str(own), str(its)), 1.0),
                NONE: 1.0,
            }
            rows.append(
                {
                    "models": [a.name, b.name], "lane": str(own), "beside": str(its),
                    "alone_us": measured.alone_median_us, "beside_us": measured.beside_median_us,
                    "slowdown": measured.slowdown, "interval": encode(measured.interval), "guesses": guesses,
                    "error": {name: abs(guess / measured.slowdown - 1) for name, guess in guesses.items()},
                }
            )  # fmt: skip
    return rows


def plan_times(
    sessions: Sequence[tuple[str, Lane]], outputs: Sequence[str], inputs: Sequence[TensorSpec], rounds: int
) -> tuple[list[float], float]:
    """µs of each stage alone, and requests per second of the pipeline, in turns; the faster half of each."""
    runner = StageRunner(sessions, outputs)
    feeds = random_inputs(inputs, seed=0)
    alone: list[list[float]] = []
    rates: list[float] = []
    try:
        pipeline = runner.pipeline()
        for _ in range(rounds):
            alone.append(_alone_us(runner, feeds, sessions[0][1].concurrency.cores[:1]))
            rates.append(_rate(pipeline, feeds, sum(alone[-1])))
        pipeline.close()
    finally:
        runner.close()
    half = (rounds + 1) // 2
    stage_us = np.median(sorted(alone, key=sum)[:half], axis=0).tolist()
    return stage_us, float(np.median(sorted(rates, reverse=True)[:half]))


def plan_row(model: Model, lanes: tuple[Lane, Lane], known: Knowledge, rounds: int) -> dict[str, Any]:
    """Throughput of the model over two lanes, or in two streams of one: simulated and measured."""
    streams = lanes[0] == lanes[1]
    files = (model.whole,) if streams else model.halves
    where = lanes[:1] if streams else lanes[: len(files)]
    sessions = [(str(file.path), lane) for file, lane in zip(files, where, strict=True)]
    outputs = [spec.name for spec in model.graph.outputs]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # OpenVINO's threads are the process's
        stage_us, measured = fresh.submit(plan_times, sessions, outputs, model.graph.inputs, rounds).result()
    left_out = known.without(model.name)
    kernels = [range(file.start, file.stop) for file in files]
    on = tuple(range(len(files)))
    copies = (2,) if streams else (1,) * len(files)
    corun = slowdowns(table([model], where, left_out.predictor), kernels, on, where, streams=copies)
    mean = {
        pair: left_out.mean.get((str(where[pair[0]]), str(where[pair[1]])), 1.0) for pair in corun
    }  # fmt: skip
    simulated = {
        name: float(
            offline(
                [StagedPlan(stage_us=tuple(stage_us), lane=on, streams=copies, corun=given)], requests=200
            ).throughput_per_s[0]
        )
        for name, given in ((PREDICTED, corun), (LEVEL, mean), (NONE, None))
    }
    return {
        "model": model.name, "lanes": [str(lane) for lane in where], "stage_us": stage_us, "measured_per_s": measured,
        "simulated_per_s": simulated, "corun": {f"{a} beside {b}": slow for (a, b), slow in corun.items()},
        "error": {name: abs(rate / measured - 1) for name, rate in simulated.items()},
    }  # fmt: skip


def _alone_us(runner: StageRunner, feeds: dict[str, Any], cores: tuple[int, ...]) -> list[float]:
    """µs of each stage, one request at a time, from a thread on the lane's core."""
    found: list[list[float]] = []

    def work() -> None:
        pin_thread(cores)
        end = time.perf_counter() + ROUND_S
        runner.stage_times_us(feeds)
        while time.perf_counter() < end or len(found) < 3:
            found.append(runner.stage_times_us(feeds))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return [float(np.median(column)) for column in zip(*found, strict=True)]


def _rate(pipeline: Any, feeds: dict[str, Any], request_us: float) -> float:
    """Requests per second; those at both ends, when a lane has nothing to do, do not count."""
    count = max(12, int(2 * ROUND_S * 1e6 / request_us))
    futures = [pipeline.submit(None, feeds) for _ in range(2)]
    ends: list[float] = []
    for _ in range(count):
        futures.append(pipeline.submit(None, feeds))
        futures.pop(0).result()
        ends.append(time.perf_counter())
    for future in futures:
        future.result()
    return (len(ends) - 3) / (ends[-1] - ends[2])


def summary_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median error and the share within 10 %, by way of predicting."""
    return {
        name: {
            "median_error": float(np.median([row["error"][name] for row in rows])),
            "within_10": float(np.mean([row["error"][name] <= 0.10 for row in rows])),
        }
        for name in (PREDICTED, LEVEL, NONE)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--profile-s", type=float, default=200.0, help="seconds for kernels and co-runs")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with open_workplace(home) as place:
            pairs = lane_pairs(place)
            singles = [f"{processor.name}/f32/t1" for processor in place.processors if processor.device == "cpu"]
        profile(options.models, SearchSettings(home=home, budget_s=0.3 * options.profile_s), lanes=singles)
        profiled = profile_contention(options.models, SearchSettings(home=home, budget_s=0.7 * options.profile_s))
        with Store(f"sqlite:///{home / 'profiles.db'}") as store:
            known = Knowledge(store)
            models = [load(name, Path(folder) / name, store) for name in options.models]
        stages = [row for lanes in pairs for row in stage_rows(models, lanes, known, options.rounds)]
        plans = [plan_row(model, lanes, known, options.rounds) for lanes in pairs for model in models]
    kernels = [encode(row) for row in evaluate_slowdowns(known.records, known.groups)]
    report(profiled.pairs, stages, plans, kernels)
    results = {"lanes": encode(profiled.pairs), "kernels": kernels, "stages": stages, "plans": plans}
    print(
        write(
            "contention",
            results,
            models=options.models,
            co_runs=len(known.records),
            stages=summary_of(stages),
            plans=summary_of(plans),
        )
    )


def report(lanes: Any, stages: Sequence[Any], plans: Sequence[Any], kernels: Sequence[Any]) -> None:
    """What is printed."""
    for row in lanes:
        if row.median is not None:
            print(f"{row.lane:32} beside {row.beside:32} {row.median:.2f}x ({row.low:.2f}–{row.high:.2f})")
    for row in kernels:
        print(f"kernels and segments, {row['learner']:8} median error {row['median_error']:6.1%} of {row['count']}")
    for title, rows in (("co-run latency of stages", stages), ("throughput of plans", plans)):
        for name, found in summary_of(rows).items():
            print(
                f"{title:26} {name:14} median error {found['median_error']:6.1%}, "
                f"within 10 % {found['within_10']:4.0%} of {len(rows)}"
            )


if __name__ == "__main__":
    main()
