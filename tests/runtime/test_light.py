"""A production program that loads a plan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import importlib.metadata, json, os, sys
import numpy, onnxruntime
onnxruntime.InferenceSession, numpy.random.default_rng(0)
before = set(sys.modules)
import autotune
with autotune.load_plan(sys.argv[1]) as plan:
    plan.run(None, {"in.put": numpy.zeros((1, 8), numpy.float32)})
new = set(sys.modules) - before
packages = {name.split(".")[0] for name in new} - set(sys.stdlib_module_names)
rooms = {name.split(".")[1] for name in new if name.startswith("autotune.")}
print(json.dumps([sorted(packages), sorted(rooms)]))
"""


def test_a_plan_needs_nothing_but_numpy_and_onnx_runtime(plan_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM, str(plan_folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    packages, rooms = json.loads(done.stdout)
    assert [name for name in packages if not name.startswith("__editable__")] == ["autotune"]
    assert rooms == ["core", "errors", "processors", "runtime"]
    assert done.stderr == ""
