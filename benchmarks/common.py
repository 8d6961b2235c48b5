"""What every benchmark shares: a results file with the command, date, machine and versions; a model to be measured."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.api.task import Task
    from autotune.core import Scenario
    from autotune.planning import Bench
    from autotune.profiler import Worker

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "onnxruntime",
    "onnxruntime-openvino",
    "onnxruntime-ep-openvino",
    "xgboost",
    "optuna",
    "scikit-learn",
    "numpy",
)


def environment() -> dict[str, Any]:
    """Machine and versions."""
    from autotune.processors import discover, this_device

    device = this_device()
    found = discover()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "machine": device.name,
        "cores": len(device.cores),
        "memory_gib": round(device.memory_bytes / 2**30),
        "features": list(device.features),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "runtime": found.runtime,
        "processors": {processor.name: [str(p) for p in processor.precisions] for processor in found.processors},
        "versions": versions,
    }


def write(name: str, results: Any, **summary: Any) -> Path:
    """Writes `results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    given = [re.sub(r"(?<!\S)/\S*/", "FOLDER/", text) for text in sys.argv[1:]]
    data = {
        "command": "python " + " ".join([f"benchmarks/{Path(sys.argv[0]).name}", *given]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "summary": summary,
        "results": results,
    }
    path.write_text(json.dumps(data, indent=1, default=str) + "\n")
    return path


def read(name: str) -> list[dict[str, Any]]:
    """Rows of `results/<name>.json`; none where there is no such file."""
    path = RESULTS / f"{name}.json"
    return list(json.loads(path.read_text())["results"]) if path.exists() else []


def geometric_mean(values: Sequence[float | None]) -> float | None:
    """Of those that are more than 0; None where none is."""
    good = [value for value in values if value and value > 0]
    return math.exp(sum(math.log(value) for value in good) / len(good)) if good else None


def offered(names: str) -> list[Scenario]:
    """The scenarios of a comma-separated list that a search can be asked for; the others are named and left out."""
    from autotune.api.settings import parse_scenario
    from autotune.errors import UsageError

    found = []
    for name in names.split(","):
        try:
            found.append(parse_scenario(name))
        except UsageError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class OpenModel:
    """A model that candidates can be measured on, as a search has it.

    Args:
        task: the model with its inputs and reference.
        bench: turns candidates into jobs.
        worker: runs them for their outputs.
    """

    task: Task
    bench: Bench
    worker: Worker


@contextlib.contextmanager
def open_model(model: str, scenario: Scenario, home: Path) -> Iterator[OpenModel]:
    """Opens a model of the zoo or an ONNX file for as long as the block takes."""
    from autotune.api import SearchSettings
    from autotune.api.clock import Budget
    from autotune.api.task import prepare_task
    from autotune.planning import Bench
    from autotune.profiler import Worker

    with tempfile.TemporaryDirectory() as folder, Worker() as worker:
        work = Path(folder)
        task = prepare_task(
            model, SearchSettings(home=home, track=False), work, worker, Budget(90.0), hold=lambda: None
        )
        bench = Bench(task.graph, work=work / "stages", feeds=task.feeds, scenario=scenario)
        yield OpenModel(task=task, bench=bench, worker=worker)
