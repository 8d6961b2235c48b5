"""Searches ONNX files that this project did not make, as a user does; checks what is printed and what plans give.

    pip download --no-deps ddddocr silero-vad      (then unpack the .onnx files of the two wheels into FOLDER)
    python benchmarks/foreign.py FOLDER/common_det.onnx FOLDER/silero_vad.onnx [--shape FILE:NAME=1,512] [--budget 90s]

The JSON is compared with the contract, the plan is loaded, and its outputs on random inputs are compared with those of
ONNX Runtime's default session. A file that leaves dimensions open without `--shape` ends with the search's message.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from common import write

from autotune import load_plan
from autotune.graph import load, random_inputs

Shapes = dict[str, tuple[int, ...]]
COMMAND = str(Path(sys.executable).with_name("autotune"))
CONTRACT = {
    "": {
        "schema_version", "models", "scenario", "device", "plan", "mlflow_run_id", "verdict", "baselines",
        "best_single_processor", "tuned", "speedup", "verified", "cost",
    },
    "verdict": {"kind", "winner", "reason"},
    "tuned": {"predicted", "measured", "error", "lanes", "stages"},
    "speedup": {"over_default", "over_best_single"},
    "cost": {
        "profile_s", "train_s", "search_s", "verify_s", "total_s", "device_measurements", "table_candidates", "trials",
    },
}  # fmt: skip
"""Keys that `search --json` promises, by part of the object."""


def missing(found: dict[str, Any]) -> list[str]:
    """What the contract promises and the object lacks."""
    return [
        f"{part}.{key}".strip(".")
        for part, keys in CONTRACT.items()
        for key in sorted(keys - (found[part] if part else found).keys())
    ]


def difference(plan: Path, model: Path, shapes: Shapes) -> float:
    """Worst over the outputs of RMS(difference) / RMS(output of the default session) on random inputs."""
    with tempfile.TemporaryDirectory() as work:
        graph = load(model, shapes=shapes, work=Path(work))
        feeds = random_inputs(graph.inputs, seed=1)
        wanted = ort.InferenceSession(graph.source).run(None, feeds)
    with load_plan(plan) as runner:
        got = runner.run(None, feeds)
    pairs = [(np.asarray(a, float), np.asarray(b, float)) for a, b in zip(wanted, got, strict=True)]
    return max(float(np.sqrt(np.mean((a - b) ** 2) / max(np.mean(a**2), 1e-30))) for a, b in pairs)


def searched(model: Path, shapes: Shapes, budget: str, home: Path) -> dict[str, Any]:
    """One row: what the search ended with."""
    flags = [text for name, shape in shapes.items() for text in ("--shape", f"{name}={','.join(map(str, shape))}")]
    command = [COMMAND, "search", "--model", str(model), "--budget", budget, "--json", *flags]
    done = subprocess.run(
        command, env=os.environ | {"AUTOTUNE_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    row: dict[str, Any] = {"file": model.name, "shapes": shapes, "exit": done.returncode}
    if done.returncode or not done.stdout:
        return row | {"message": (done.stderr or done.stdout).strip().splitlines()[-6:]}
    found = json.loads(done.stdout)
    return row | {
        "missing": missing(found),
        "verdict": found["verdict"],
        "speedup": found["speedup"],
        "stages": len(found["tuned"]["stages"]),
        "error": found["tuned"]["error"],
        "cost": found["cost"],
        "output_difference": difference(Path(found["plan"]), model, shapes),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--shape", action="append", default=[], metavar="FILE:NAME=1,512")
    parser.add_argument("--budget", default="90s")
    flags = parser.parse_args(arguments)
    shapes: dict[str, Shapes] = {}
    for text in flags.shape:
        name, _, value = text.partition("=")
        file, _, tensor = name.rpartition(":")
        shapes.setdefault(file, {})[tensor] = tuple(int(size) for size in value.split(","))
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for file in flags.files:
            rows.append(searched(file, shapes.get(file.name, {}), flags.budget, Path(home)))
            print(json.dumps(rows[-1]), flush=True)
    print(write("foreign", rows))


if __name__ == "__main__":
    main()
