"""benchmarks/latency_data.py on whatever a stranger's folder holds."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    assert done.returncode == 1, done.stderr
    assert "hope_operators: failed" in done.stderr
    found = json.loads(done.stdout)
    ((part, error),) = [one.values() for one in found["failed"]]
    assert part == "hope_operators"
    assert error.startswith("Arrow")
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


def phone_operators(rng: np.random.Generator) -> pd.DataFrame:
    """Convolutions of 20 models on two phones' GPUs, which take what they compute."""
    count = 200
    table = pd.DataFrame(
        {
            "framework": "tflite", "model": [f"m{at % 20}" for at in range(count)], "op_index": range(count),
            "op": "conv_2d", "in_hw": 14.0, "in_c": rng.integers(8, 200, count), "out_hw": 14.0,
            "out_c": rng.integers(8, 200, count), "kernel": 3.0, "stride": 1.0, "groups": 1.0, "padding": np.nan,
            "fold": [at % 20 % 2 for at in range(count)],
        }
    )  # fmt: skip
    table["flops"] = 2.0 * 14 * 14 * 9 * table["in_c"] * table["out_c"]
    return table.assign(lat_us_red=20 + table["flops"] / 1e5, lat_us_blue=30 + table["flops"] / 5e4)


def phone_models(operators: pd.DataFrame) -> pd.DataFrame:
    """They take the sum of their operators and a bit."""
    sums = operators.groupby("model")[["lat_us_red", "lat_us_blue"]].sum()
    parts = [
        pd.DataFrame(
            {
                "model": sums.index.to_numpy(),
                "device": phone,
                "lat_us_mean": 500 + 1.1 * sums[f"lat_us_{phone}"].to_numpy(),
            }
        )
        for phone in ("red", "blue")
    ]
    return pd.concat(parts).assign(framework="tflite", processor="gpu", cores="", precision="float")


def test_phones_of_strangers_have_operators_models_and_a_new_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operators = phone_operators(np.random.default_rng(0))
    operators.to_parquet(tmp_path / "usc_mobile_gpu_ops.parquet")
    phone_models(operators).to_parquet(tmp_path / "usc_mobile_e2e.parquet")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.setattr(importlib.import_module("latency_usc"), "CURVE", (1.0,))  # one point: each takes seconds
    rows, failed = ran(tmp_path, ["usc_operators", "usc_models", "usc_new_gpu"], monkeypatch)
    assert failed == []
    assert [row["task"] for row in rows] == [
        "usc operators, models left out", "usc operators, unseen shapes",
        "usc whole models on the GPU, from operators", "usc, a new GPU with 100 measured operators",
    ]  # fmt: skip
    assert set(rows[0]["detail"]["by phone"]) == {"red", "blue"}
    assert set(rows[2]["detail"]["by phone"]) == {"red tflite", "blue tflite"}
    assert [row["n"] for row in rows] == [400, 400, 40, 2 * (200 - 100)]
    for row in rows:
        assert row["reached"]["mape"] < 10
        assert row["published"]


def test_operators_of_graphs_on_phones_have_both_processors_and_a_placement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, rows = np.random.default_rng(0), []
    for device, model, at in itertools.product(("red", "blue"), ("a", "b", "c"), range(20)):
        c_in, c_out = rng.integers(8, 200, 2).tolist()
        macs = 14.0 * 14 * 9 * c_in * c_out
        slow = {"red": 1.0, "blue": 2.0}[device]
        rows.append(
            {
                "engine": "mnn", "model": model, "device": device, "op_index": at, "op_name": f"conv{at}",
                "op_type": "Convolution", "graph_index": float(at), "preds": str(at - 1) if at else "",
                "in_shapes": f"1,{c_in},14,14", "out_shape": f"1,{c_out},14,14", "kh": 3.0, "kw": 3.0, "in_c": c_in,
                "in_h": 14.0, "in_w": 14.0, "out_c": c_out, "out_h": 14.0, "out_w": 14.0, "macs": macs,
                "cpu_big1_us": 10 + slow * macs / 5e3, "gpu_us": 400 + slow * macs / 5e4,
            }
        )  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "hope_ops.parquet")
    found, failed = ran(tmp_path, ["hope_operators"], monkeypatch)
    assert failed == []
    assert [row["task"] for row in found] == [
        "hope operators, models left out, CPU", "hope operators, models left out, GPU",
        "hope placement per operator, over the oracle",
    ]  # fmt: skip
    assert set(found[0]["detail"]["by device"]) == {"cpu_big1_us red", "cpu_big1_us blue"}
    assert [(row["n"], row["folds"]) for row in found] == [(120, 3)] * 3
    assert found[0]["reached"]["mape"] < 20
    assert found[2]["reached"]["over_oracle"] < found[2]["detail"]["by threads"]["cpu_big1_us"]["all on the CPU"]


def ran(
    folder: Path, tasks: list[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Rows of these tasks, and those that failed, in this process."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    found: tuple[list[dict[str, Any]], list[dict[str, str]]] = importlib.import_module("latency_data").run(
        folder, tasks
    )
    return found


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
