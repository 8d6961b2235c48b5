"""Pairs of models served at the same time: joint plans against own best plans side by side, and against the default.

Two figures per pair and comparison: from the search's own deciding launches, and from fresh launches after it. Outputs
are compared with ONNX Runtime's default on the models as they were built. Everything is float32.

python benchmarks/pairs.py [--pairs yolo+bert_mini] [--budget 150s] [--launches 4] [--scenario NAME] [--fairness NAME]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from common import geometric_mean, write

from autotune import load_plans, models
from autotune.api import JointSearchResult, Participant, SearchSettings, bench_plans, parse_duration, search_together
from autotune.api.settings import PrecisionPolicy, parse_scenario
from autotune.core import Fairness
from autotune.core.codec import encode
from autotune.graph import load, save_arrays
from autotune.profiler import compare

PAIRS = "mobilenet_v2+bert_mini,squeezenet+mobilenet_v2,yolo+bert_mini"
SIZES = {"yolo": {"size": 320}}
SAMPLES = 8
COMPARED = 2


def prepare(name: str, work: Path) -> Participant:
    """A model of the zoo as a file, with the zoo's inputs."""
    path = work / f"{name}.onnx"
    inputs = work / f"{name}.npz"
    if not path.exists():
        onnx.save(models.build(name, **SIZES.get(name, {})), str(path))
        specs = load(path, work=work / f"{name}-prepared").inputs
        samples = list(models.sample_inputs(name, specs, count=SAMPLES))
        save_arrays(inputs, {key: np.stack([sample[key] for sample in samples]) for key in samples[0]})
    return Participant(model=str(path), inputs=(inputs,))


def output_error(result: JointSearchResult, participant: Participant) -> float | None:
    """Worst relative RMS of the plan's outputs, from ONNX Runtime's default on the model as it was built."""
    session = ort.InferenceSession(participant.model, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    own = next(found.plan for found in result.models if found.plan.model.name == participant.name)
    if own.batch > 1:
        return own.error.relative_rms if own.error else None  # the plan takes several samples at once
    arrays = np.load(participant.inputs[0])
    samples = [{key: arrays[key][at] for key in arrays} for at in range(COMPARED)]
    with load_plans(result.folder) as plans:
        found = [[np.asarray(array) for array in plans.run(own.model.name, outputs, sample)] for sample in samples]
    wanted = [[np.asarray(array) for array in session.run(outputs, sample)] for sample in samples]
    return compare(wanted, found, outputs, ()).relative_rms


def one(
    names: Sequence[str], settings: SearchSettings, fairness: Fairness, launches: int, work: Path
) -> dict[str, Any]:
    begin = time.monotonic()
    chosen = [prepare(name, work) for name in names]
    result = search_together(chosen, settings, fairness=fairness)
    data = result.to_json()
    errors = {participant.name: output_error(result, participant) for participant in chosen}
    again = None
    if launches:
        inputs = {participant.name: participant.inputs for participant in chosen}
        again = bench_plans(result.folder, launches=launches, home=settings.home, inputs=inputs)
    for model in data["models"]:
        del model["baselines"], model["verified"], model["plan"]
    return {
        "pair": "+".join(names),
        "verdict": data["verdict"],
        "speedup": data["speedup"],
        "again": {row.name: encode(row) for row in again.rows} if again else None,
        "output_error": errors,
        "models": data["models"],
        "baselines": data["baselines"],
        "verified": data["verified"],
        "cost": data["cost"],
        "wall_s": time.monotonic() - begin,
    }


def over(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Geometric mean and least of the gain over a comparison, in the search and again."""
    found: dict[str, Any] = {}
    deciding = [row["speedup"][f"over_{name}"]["ratio"] for row in rows if row["speedup"][f"over_{name}"]]
    again = [
        1.0 if name == "side_by_side" and row["verdict"]["kind"] == "side_by_side" else (gain or {}).get("ratio")
        for row in rows
        if row["again"]
        for gain in [row["again"].get(name, {}).get("plan_gain")]
    ]
    for way, ratios in (("deciding", deciding), ("again", [ratio for ratio in again if ratio])):
        found[way] = {
            "geometric_mean": geometric_mean(ratios),
            "least": min(ratios) if ratios else None,
            "pairs": len(ratios),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", default=PAIRS)
    parser.add_argument("--budget", default="150s")
    parser.add_argument("--launches", type=int, default=4)
    parser.add_argument("--scenario", default="SingleStream")
    parser.add_argument("--fairness", default="sum")
    flags = parser.parse_args()
    fairness = Fairness(flags.fairness)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = SearchSettings(
            scenario=parse_scenario(flags.scenario),
            precision=PrecisionPolicy.FLOAT32,
            budget_s=parse_duration(flags.budget),
            home=Path(folder) / "home",
            track=False,
        )
        for pair in flags.pairs.split(","):
            rows.append(one(pair.split("+"), settings, fairness, launches=flags.launches, work=Path(folder)))
            last = rows[-1]
            print(pair, last["verdict"]["winner"], last["verdict"]["reason"], last["output_error"], flush=True)
    predicted = [(v["predicted"], v["measured"]) for row in rows for v in row["verified"] if v["measured"]]
    write(
        "pairs" if flags.scenario == "SingleStream" else f"pairs_{flags.scenario.lower()}",
        rows,
        over_side_by_side=over(rows, "side_by_side"),
        over_default=over(rows, "default"),
        worst_output_error=max(error or 0.0 for row in rows for error in row["output_error"].values()),
        predicted_median_error=float(np.median([abs(p / m - 1) for p, m in predicted])) if predicted else None,
        seconds=sum(row["wall_s"] for row in rows),
    )


if __name__ == "__main__":
    main()
