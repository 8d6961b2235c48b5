"""What every benchmark shares: a results file with the command, date, machine and versions."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
    given = ["FOLDER" if Path(text).is_absolute() else text for text in sys.argv[1:]]
    data = {
        "command": "python " + " ".join([f"benchmarks/{Path(sys.argv[0]).name}", *given]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "summary": summary,
        "results": results,
    }
    path.write_text(json.dumps(data, indent=1, default=str) + "\n")
    return path
