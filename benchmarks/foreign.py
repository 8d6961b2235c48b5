"""Searches ONNX files that this project did not make, as a user does; checks what is printed and what plans give.

    pip download --no-deps ddddocr silero-vad      (then unpack the .onnx files of the two wheels into FOLDER)
    python benchmarks/foreign.py FOLDER/common_det.onnx FOLDER/silero_vad.onnx \
        [--flags "silero_vad.onnx: --shape input=1,512 --inputs FOLDER/speech.npz"] [--budget 90s]

The JSON is compared with the contract, the plan is loaded, and its outputs on the inputs given, else on random ones,
are compared with those of ONNX Runtime's default session. A file that needs flags ends with the search's message.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from common import write

from autotune import load_plan
from autotune.graph import load, random_inputs

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


def difference(plan: Path, model: Path, flags: Sequence[str]) -> float:
    """Worst over the outputs of RMS(difference) / RMS(output of the default session)."""
    session = ort.InferenceSession(model)
    given = [Path(value) for name, value in pairwise(flags) if name == "--inputs"]
    with load_plan(plan) as runner:
        if given:
            with np.load(given[0], allow_pickle=False) as arrays:
                feeds = dict(arrays)
        else:
            feeds = random_inputs(load(model).inputs, seed=1)
        pairs = zip(session.run(None, feeds), runner.run(None, feeds), strict=True)
        return max(float(np.sqrt(np.mean((a - b) ** 2) / max(np.mean(a**2), 1e-30))) for a, b in pairs)


def searched(model: Path, flags: Sequence[str], budget: str, home: Path) -> dict[str, Any]:
    """One row: what the search ended with."""
    command = [COMMAND, "search", "--model", str(model), "--budget", budget, "--json", *flags]
    done = subprocess.run(
        command, env=os.environ | {"AUTOTUNE_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    row: dict[str, Any] = {"file": model.name, "exit": done.returncode}
    if done.returncode or not done.stdout:
        return row | {"message": (done.stderr or done.stdout).strip().splitlines()[-1]}
    found = json.loads(done.stdout)
    return row | {
        "shapes": found["models"][0]["shapes"],
        "missing": missing(found),
        "verdict": found["verdict"],
        "speedup": found["speedup"],
        "stages": len(found["tuned"]["stages"]),
        "error": found["tuned"]["error"],
        "cost": found["cost"],
        "output_difference": difference(Path(found["plan"]), model, flags),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--flags", action="append", default=[], metavar="FILE:FLAGS", help="further ones for a file")
    parser.add_argument("--budget", default="90s")
    asked = parser.parse_args()
    flags = {file: shlex.split(text) for file, _, text in (given.partition(":") for given in asked.flags)}
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for file in asked.files:
            rows.append(searched(file, flags.get(file.name, []), asked.budget, Path(home)))
            print(json.dumps(rows[-1]), flush=True)
    print(write("foreign", rows))


if __name__ == "__main__":
    main()
