"""benchmarks/latency_data.py on whatever a stranger's folder holds."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

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
    assert [task["task"] for task in found["tasks"]] == [
        "nb201, 10 samples", "nb201, 10 samples, as HELP draws them",
        "nb201, 20 samples", "nb201, 20 samples, as HELP draws them",
    ]  # fmt: skip
    for task in found["tasks"]:
        assert set(task["detail"]["by device"]) == {"red", "blue_1", "green", "grey"}
        assert "none of HELP's six" in task["note"]
        assert task["reached"]["spearman"] > task["baseline"]["spearman"] > 0
        assert task["target"] == ({"spearman": 0.945} if "10 samples" in task["task"] else {})
        assert task["published"] == ({"spearman": 0.932} if "10 samples" in task["task"] else {})
        assert task["seconds"] > 0


def test_search_spaces_without_flops_stand_beside_the_known_devices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, 3, (300, 6))
    table = pd.DataFrame(places, columns=[f"op{at:02}" for at in range(6)])
    for name in ("pixel3", "silver_4114", "1080ti_1", "fpga"):
        table[f"help_ms_{name}"] = (
            2.0 + np.sort(rng.random(3))[places].sum(axis=1) + rng.random((6, 3)).max(axis=1).sum()
        )
    table.to_parquet(tmp_path / "fbnet_latency_27cfg.parquet")
    done = run("--data", str(tmp_path), "--tasks", "fbnet")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| fbnet")]
    assert len(rows) == 4
    cells = [row.split(" | ") for row in rows]
    assert {(row[2], row[5], row[6]) for row in cells} == {("–", "–", "–")}  # nothing published, no target, none met


def test_rows_of_earlier_runs_stay_and_show_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    latency_data = importlib.import_module("latency_data")
    monkeypatch.setattr(latency_data, "RESULTS", tmp_path)
    earlier = {
        "task": "hope operators, models left out, GPU", "part": "hope_operators", "reached": {"mape": 49.7},
        "baseline": {"mape": 67.1}, "target": {"mape": 20.0}, "n": 1, "folds": 7,
    }  # fmt: skip
    (tmp_path / "latency_data.json").write_text(json.dumps({"results": [earlier, {"part": "nb201", "task": "old"}]}))
    new = {"task": "nb201, 20 samples", "part": "nb201", "published": {}}
    kept, added = latency_data.merged([new])
    assert added == new
    assert kept == earlier | {"published": {"mape": 32.0, "within_10": 29.0}}
    assert "| 32 / 29 | 67.1 | 49.7 | 20 | no |" in latency_data.line(kept)
