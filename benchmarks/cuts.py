"""What a cut costs: predicted against measured, on every lane of this machine that uses all cores.

A model as two stages on one lane is measured in turns with the model whole; the difference is the cost of the cut. It
is predicted as the search does: coefficients of other models' stages, their level set by the model's own segments. A
second measurement in a process of its own says how well the difference is known at all.

    python benchmarks/cuts.py [--models squeezenet,mobilenet_v2] [--positions 6] [--home FOLDER]

`--home` is one with stage records (of a search); without it the coefficients are the defaults.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import write

from autotune import models
from autotune.api.calibration import SegmentTimes, calibrate
from autotune.api.model_segments import SEGMENT_ROUND_S, SEGMENT_ROUNDS, SEGMENTS
from autotune.core import Candidate, Failure, Lane, Measurement, Scenario, StageChoice
from autotune.datasets import Store
from autotune.graph import load, save_arrays
from autotune.planning import Bench, segment_ranges
from autotune.planning.costs import LaneCost
from autotune.predictor import StagePredictor
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler import Job, time_chain

ROUNDS = 16
ROUND_S = 0.03
DEADLINE_S = 300.0


def all_core_lanes() -> list[Lane]:
    """Every processor and precision with all cores; the CPU provider without spinning, as in a partition."""
    cores = this_device().cores
    lanes = [lane for processor in discover().processors for lane in lanes_of(processor, cores=cores)]
    return [
        lane
        for lane in lanes
        if lane.concurrency.threads == len(cores) and (lane.processor != "cpu" or lane.concurrency.spinning is False)
    ]


def stage_costs(home: str, sha256: str) -> StagePredictor:
    """Coefficients from the stages of other models."""
    if not home:
        return StagePredictor()
    device = this_device().id
    with Store(f"sqlite:///{Path(home) / 'profiles.db'}") as store:
        records = [record for record in store.stages(device=device) if record.model_sha256 != sha256]
        known = {
            (record.kernel.signature, str(record.lane)): record.result.median_us
            for record in store.kernels(device=device)
            if isinstance(record.result, Measurement)
        }
    return StagePredictor.fit(
        records, lambda signatures, lane: np.array([known.get((s, str(lane)), np.nan) for s in signatures])
    )


def surplus_us(bench: Bench, position: int, lane: Lane, reference: Job, seed: int) -> tuple[float, float]:
    """What the cut costs, and what the whole takes, at the machine's fastest; NaN where it failed."""
    files = bench.files([(0, position), (position, len(bench.graph.kernels))])
    found = time_chain(
        bench.chain_job(files, [lane], callers=1),
        reference,
        rounds=ROUNDS,
        round_s=ROUND_S,
        seed=seed,
        deadline_s=DEADLINE_S,
    )
    if isinstance(found, Failure):
        return float("nan"), float("nan")
    return sum(found.stages_us) - found.whole_us, found.whole_us


def one(model: str, lanes: list[Lane], positions: int, home: str) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(models.build(model), str(folder / f"{model}.onnx"))
        graph = load(folder / f"{model}.onnx")
        feeds = models.sample_inputs(model, graph.inputs, count=1)[0]
        save_arrays(folder / "feeds.npz", feeds)
        bench = Bench(graph, work=folder / "stages", feeds=folder / "feeds.npz", scenario=Scenario.SINGLE_STREAM)
        weight = np.array([use.kernel.flops + 1.0 for use in graph.kernels])
        spans = segment_ranges(graph.cuts, weight, count=SEGMENTS)
        files = bench.files(spans)
        ends = (sum(t.bytes for t in graph.inputs), sum(t.bytes for t in graph.outputs))
        used = {start for start, _ in spans}
        legal = [cut.position for cut in graph.cuts[1:-1] if cut.legal and cut.position not in used]
        chosen = legal[:: max(1, len(legal) // positions)][:positions]
        costs = stage_costs(home, graph.sha256)
        for lane in lanes:
            whole = StageChoice(start=0, stop=len(graph.kernels), lane=lane)
            reference = bench.job(Candidate(stages=(whole,)), "whole")
            chain = time_chain(
                bench.chain_job(files, [lane], callers=1),
                reference,
                rounds=SEGMENT_ROUNDS,
                round_s=SEGMENT_ROUND_S,
                seed=0,
                deadline_s=DEADLINE_S,
            )
            if isinstance(chain, Failure):
                print(f"{model} on {lane}: {chain.message}")
                continue
            prior = costs.coefficients(lane)
            _, fitted = calibrate(
                np.ones(len(graph.kernels)),
                LaneCost(
                    call_us=prior.call_us,
                    per_byte_in_us=prior.per_byte_in_us,
                    per_byte_out_us=prior.per_byte_out_us,
                ),
                SegmentTimes(spans=tuple(spans), times_us=chain.stages_us, whole_us=chain.whole_us),
                cuts=graph.cuts,
                model_bytes=ends,
                overhead=1.0,
            )
            for at in chosen:
                (first_us, whole_us), (again_us, _) = (surplus_us(bench, at, lane, reference, seed) for seed in (0, 1))
                crossing = graph.cuts[at].bytes
                rows.append(
                    {
                        "model": model,
                        "lane": str(lane),
                        "position": at,
                        "bytes": crossing,
                        "measured_us": first_us,
                        "measured_again_us": again_us,
                        "predicted_us": cost_us(fitted, crossing),
                        "predicted_from_others_us": cost_us(prior, crossing),
                        "whole_us": whole_us,
                    }
                )
                print(rows[-1], flush=True)
    return rows


def cost_us(cost: Any, crossing: int) -> float:
    return float(cost.call_us + (cost.per_byte_in_us + cost.per_byte_out_us) * crossing)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="squeezenet,mobilenet_v2,bert_mini")
    parser.add_argument("--positions", type=int, default=6)
    parser.add_argument("--home", default="")
    flags = parser.parse_args()
    rows = [
        row for model in flags.models.split(",") for row in one(model, all_core_lanes(), flags.positions, flags.home)
    ]
    summary = {}
    for lane in sorted({row["lane"] for row in rows}):
        own = [row for row in rows if row["lane"] == lane]
        errors, others, again = (
            np.array([abs(row[name] - row["measured_us"]) for row in own])
            for name in ("predicted_us", "predicted_from_others_us", "measured_again_us")
        )
        summary[lane] = {
            "cuts": len(own),
            "median_cost_us": float(np.nanmedian([row["measured_us"] for row in own])),
            "median_error_us": float(np.nanmedian(errors)),
            "within_30_us": float(np.mean(errors <= 30)),
            "median_error_from_others_us": float(np.nanmedian(others)),
            "median_retest_difference_us": float(np.nanmedian(again)),
        }
        print(lane, summary[lane])
    print(write("cuts", rows, **summary))


if __name__ == "__main__":
    main()
