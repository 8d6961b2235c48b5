"""How well this machine's kernels and models are predicted: models left out, beside baselines and the noise ceiling.

    python benchmarks/own_device.py --home FOLDER --part measure    (11 minutes: kernels, then whole models)
    python benchmarks/own_device.py --home FOLDER --part again      (4 minutes: the models' kernels once more)
    python benchmarks/own_device.py --home FOLDER                   (the report, from the records in FOLDER)

Measuring goes on where it was stopped. Each model of the zoo is left out in turn, with all its kernels and the
synthetic ones that were drawn from its architecture. The curve draws shares of all kernels at random.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import write
from own_accuracy import CURVE, DEFAULT, compared, covered, curve, read, rows_of, speeds
from own_records import measure
from own_wholes import whole_models, whole_summary

from autotune import models
from autotune.core import Kernel, Lane
from autotune.datasets import synthetic_kernels
from autotune.predictor import KernelPredictor
from autotune.predictor.evaluation import RETEST
from autotune.predictor.training import models_of
from autotune.processors import this_device

SYNTHETIC = 2500
"""More than ten minutes allow."""


def throughput(predictor: KernelPredictor, kernels: list[Kernel], lane: Lane) -> float:
    """Kernels per second, features known; each distinct one is predicted once per call."""
    predictor.predict_us(kernels, lane)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < 1.0:
        predictor.predict_us(kernels, lane)
        done += len(kernels)
    return done / (time.perf_counter() - begin)


def report(home: Path, result: str) -> None:
    import own_figures

    data = read(home, this_device())
    begin = time.monotonic()
    predictor = KernelPredictor(device=data.device).fit(data.records, data.groups)
    train_s = time.monotonic() - begin
    kernels = list({record.kernel.signature: record.kernel for record in data.records}.values())
    uses = Counter(signature for record in data.wholes for signature in record.kernels)
    held = compared(data)
    rows = rows_of(held, uses)
    for row in rows:
        if row["family"] == "all":
            print(
                f"{row['lane']:22} {row['learner']:18} ±10 % {row['within_10']:.1%} (or ±1 µs "
                f"{row['within_10_or_1us']:.1%}, by time {row['by_time_10']:.1%})  ±5 % {row['within_5']:.1%}",
                flush=True,
            )
    wholes = whole_models(data)
    whole = whole_summary(wholes)
    for entry in whole:
        print(entry, flush=True)
    coverage = covered(held, wholes)
    print("90 % intervals hold for")
    for entry in coverage:
        by_model = ", ".join(f"{model} {share:.0%}" for model, share in entry["of_kernels_by_model"].items())
        print(
            f"{entry['lane']:22} {entry['of_kernels']:.1%} of kernels (×/÷ {entry['median_factor']:.2f}; {by_model}), "
            f"{entry['of_whole_models']:.0%} of {entry['whole_models']} whole models "
            f"(×/÷ {entry['whole_median_factor']:.2f})",
            flush=True,
        )

    def share(learner: str, lane: str, column: str) -> float:
        found = (r[column] for r in rows if (r["learner"], r["lane"], r["family"]) == (learner, lane, "all"))
        return float(next(found))

    lanes = sorted({row["lane"] for row in rows})
    ceilings = {lane: share(RETEST, lane, "within_10") for lane in lanes}
    reached = {lane: share(DEFAULT, lane, "within_10") for lane in lanes}
    twice = {(one.lane, one.signature) for one in held if one.learner == RETEST}
    fair = rows_of([one for one in held if one.learner == DEFAULT and (one.lane, one.signature) in twice], uses)
    same = {row["lane"]: row["within_10"] for row in fair if row["family"] == "all"}
    print(own_figures.accuracy(rows, "within_10", result))
    summary: dict[str, Any] = {
        "minutes": round(data.kernel_s / 60, 1),
        "kernels": len(kernels),
        "records": len(data.records),
        "within_10": reached,
        "ceiling": ceilings,
        "within_10_of_those_measured_again": same,
        "of_the_ceiling": {lane: same[lane] / ceilings[lane] for lane in lanes},
        "whole_models_median_error": {entry["lane"]: entry["predicted: median error"] for entry in whole},
        "coverage_of_kernels": {entry["lane"]: entry["of_kernels"] for entry in coverage},
        "coverage_of_whole_models": {entry["lane"]: entry["of_whole_models"] for entry in coverage},
        "sentinel_us": speeds(data),
        "train_s": train_s,
        "distinct_predictions_per_s": throughput(predictor, kernels, predictor.lanes[0]),
        "predictions_per_s": throughput(predictor, kernels * (600_000 // len(kernels)), predictor.lanes[0]),
    }
    print(summary, flush=True)
    results = {"kernels": rows, "models": wholes, "model_errors": whole, "coverage": coverage}
    print(write(result, results, **summary), flush=True)
    zoo = set().union(*models_of(data.groups).values())
    points = {
        "zoo and synthetic": curve(data, lambda _: True, CURVE),
        "zoo alone": curve(data, lambda signature: signature in zoo, CURVE[2:]),
        "synthetic alone": curve(data, lambda signature: signature not in zoo, CURVE[2:]),
    }
    for name, own in points.items():
        print(name, [(round(p["minutes"], 1), round(p["within_10"]["all"], 3)) for p in own], flush=True)
    print(own_figures.curves(points, ceilings, result), write(result, results | {"curve": points}, **summary))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True, help="of the records")
    parser.add_argument("--part", choices=("measure", "again", "report"), default="report")
    parser.add_argument("--minutes", type=float, default=10.0, help="for kernels, on all lanes together")
    parser.add_argument("--models", default=",".join(models.names()))
    parser.add_argument("--lanes", default="", help="only these, for instance cpu/f32/t1; else all of this machine")
    parser.add_argument("--synthetic", type=int, default=SYNTHETIC, help="kernels, after those of the models")
    parser.add_argument("--name", default="own_device", help="of the report's result file and figures")
    flags = parser.parse_args()
    if flags.part == "report":
        report(Path(flags.home), flags.name)
        return
    again = flags.part == "again"
    synthetic = [] if again else synthetic_kernels({}, count=flags.synthetic, seed=0)
    names, lanes = flags.models.split(","), [text for text in flags.lanes.split(",") if text]
    measure(Path(flags.home), minutes=flags.minutes, synthetic=synthetic, again=again, names=names, only=lanes)


if __name__ == "__main__":
    main()
