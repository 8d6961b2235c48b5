"""benchmarks/latency_data.py on whatever a stranger's folder holds."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "latency_data.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_folder_with_nothing_in_it_fails_and_says_so(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path))
    assert done.returncode == 1
    assert "nb201_latency.parquet" in done.stderr
    assert "no task ran" in done.stderr
    assert "is no folder" in run("--data", str(tmp_path / "none")).stderr


def test_unknown_devices_are_found_and_damaged_tables_do_not_stop_the_others(tmp_path: Path) -> None:
    edges = np.array(list(itertools.product(range(3), repeat=5)))
    table = pd.DataFrame(edges, columns=["e01", "e02", "e12", "e03", "e13"]).assign(macs_m=edges.sum(axis=1) + 1.0)
    for name, costs in {"red": (0, 1, 4), "blue_1": (0, 2, 3), "green": (0, 1, 6), "grey": (0, 3, 5)}.items():
        table[f"lab_ms_{name}"] = 2.0 + np.array(costs)[edges].sum(axis=1)
    table.to_parquet(tmp_path / "nb201_latency.parquet")
    (tmp_path / "hope_ops.parquet").write_bytes(b"nothing")
    done = run("--data", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    assert "hope_operators: failed" in done.stderr
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1
    (task,) = found["tasks"]
    assert set(task["detail"]["by device"]) == {"red", "blue_1", "green", "grey"}
    assert "none of HELP's six" in task["note"]
    assert task["reached"]["spearman"] > task["baseline"]["spearman"] > 0
    assert task["target"] == {"spearman": 0.945}
    assert task["seconds"] > 0
