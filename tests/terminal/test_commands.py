"""Every command as a user types it, with its exit code, stdout and stderr: the work itself in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest

from autotune.api.asked import LaneProfile
from autotune.cli import main
from tests.api.conftest import write_model

Shell = Callable[..., "subprocess.CompletedProcess[str]"]
COMMAND = [sys.executable, "-c", "from autotune.cli import main; main()"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, its inputs and a home."""
    place = tmp_path_factory.mktemp("commands")
    write_model(place / "small.onnx")
    samples = np.random.default_rng(0).standard_normal((4, 1, 3, 24, 24)).astype(np.float32)
    np.savez(place / "inputs.npz", images=samples)
    return place


def environment(folder: Path) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")} | {
        "AUTOTUNE_HOME": str(folder / "home"),
        "COLUMNS": "200",
    }


@pytest.fixture(scope="module")
def shell(folder: Path) -> Shell:
    """Runs `autotune ARGUMENTS` in the folder."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return call


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The same in this process: what ends before any work need not load everything anew."""
    monkeypatch.chdir(folder)
    for name in set(os.environ) - set(environment(folder)):
        monkeypatch.delenv(name)
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["autotune", *arguments])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        return subprocess.CompletedProcess(arguments, int(str(code or 0)), *capsys.readouterr())

    return call


def printed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The object that a command with `--json` printed."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def searched(shell: Shell) -> dict[str, Any]:
    """What `autotune search --json` printed."""
    done = shell(
        "search", "--model", "small.onnx", "--inputs", "inputs.npz", "--processors", "cpu",
        "--budget", "10min", "--trials", "20", "--output", "plan", "--json",
    )  # fmt: skip
    return printed(done)


def test_search_prints_one_object_and_tracks_the_run(searched: dict[str, Any], folder: Path) -> None:
    assert searched["schema_version"] == 1
    assert searched["verdict"]["kind"] in ("partition", "single_processor", "default")
    assert (folder / searched["plan"]).resolve() == (folder / "plan").resolve()
    with sqlite3.connect(folder / "home" / "mlflow.db") as tracked:
        runs = {row[0] for row in tracked.execute("select run_uuid from runs")}
    assert searched["mlflow_run_id"] in runs
    assert len(runs) > len(searched["baselines"])


def test_run_gives_the_models_outputs(searched: dict[str, Any], shell: Shell, folder: Path) -> None:
    done = shell("run", searched["plan"], "--inputs", "inputs.npz", "--output", "out.npz")
    assert done.returncode == 0, done.stderr
    assert "out.npz" in done.stdout
    session = ort.InferenceSession(str(folder / "small.onnx"), providers=["CPUExecutionProvider"])
    samples = np.load(folder / "inputs.npz")["images"]
    wanted = np.stack([session.run(["scores"], {"images": sample})[0] for sample in samples])
    np.testing.assert_allclose(np.load(folder / "out.npz")["scores"], wanted, rtol=1e-4, atol=1e-5)


def test_bench_measures_the_plan_beside_its_baselines(searched: dict[str, Any], shell: Shell, folder: Path) -> None:
    (folder / "own.json").write_text('{"intra_op_num_threads": 1}')
    done = shell("bench", searched["plan"], "--launches", "2", "--baseline", "own.json", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert next(iter(rows)) == "plan"
    assert {"default", "user"} <= set(rows)
    assert rows["user"]["timing"]["p50_us"] > 0


def test_own_options_are_not_measured_under_another_load(searched: dict[str, Any], shell: Shell) -> None:
    done = shell("bench", searched["plan"], "--scenario", "Server", "--baseline", "own.json")
    assert done.returncode == 2
    assert "--baseline" in done.stderr


def test_export_prints_python_that_runs_without_autotune(searched: dict[str, Any], shell: Shell, folder: Path) -> None:
    done = shell("export", searched["plan"], "--format", "ort-config", "--output", "exported", "--json")
    assert done.returncode == 0, done.stderr
    snippet = json.loads(done.stdout)["snippet"]
    (folder / "use.py").write_text(
        f"import sys\nimport numpy as np\nfeeds = {{'images': np.zeros((1, 3, 24, 24), np.float32)}}\n{snippet}"
        "assert 'autotune' not in sys.modules\nprint(len(outputs))\n"
    )
    used = subprocess.run(
        [sys.executable, "use.py"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert used.returncode == 0, used.stderr
    assert used.stdout.strip() == "2"


def test_processors_lists_the_cpu(inside: Shell) -> None:
    found = printed(inside("processors", "--json"))
    assert "cpu" in [processor["name"] for processor in found["processors"]]
    assert "cpu" in inside("processors").stdout


def test_records_leave_and_come_back(searched: dict[str, Any], inside: Shell, folder: Path) -> None:
    assert searched["cost"]["device_measurements"] > 0
    counted = printed(inside("datasets", "show", "--json"))["records"]
    assert sum(row["kernels"] for row in counted) > 0
    device = counted[0]["device"]
    done = inside("datasets", "export", "records.parquet", "--device", device, "--licence", "CC0", "--json")
    assert printed(done)["models"] > 0
    card = json.loads((folder / "records.card.json").read_text())
    assert (card["licence"], list(card["devices"])) == ("CC0", [device])
    assert inside("datasets", "export", "records.parquet", "--device", "nobody").returncode == 2
    back = printed(inside("datasets", "import", "records.parquet", "--json"))
    assert back["added"] == 0
    assert back["known"] > 0
    assert back["refused"] == []


def test_profile_on_a_new_device_needs_no_model(inside: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def measure(*given: Any) -> list[LaneProfile]:
        asked.append(given)
        return [LaneProfile(lane="cpu/f32/t1", known=0, measured=170, failed=0, missing=130)]

    monkeypatch.setattr("autotune.api.profiling.profile_asked", measure)
    done = inside("profile", "--budget", "60")
    assert done.returncode == 0, done.stderr
    ((_, _, kernels, uses, rough, lanes, budget_s, *_),) = asked
    assert len(kernels) == 300
    assert {kernel.family for kernel in kernels.values()} >= {"convolution", "matmul", "depthwise", "data_movement"}
    assert uses == []
    assert rough == set(kernels)
    assert {lane.processor for lane in lanes} >= {"cpu"}
    assert 0 < budget_s <= 60
    assert "300 kernels, all synthetic" in done.stdout
    assert "autotune retrain" in done.stdout


@pytest.mark.slow
def test_profile_then_retrain(searched: dict[str, Any], shell: Shell) -> None:
    assert searched["reused"]["kernels"] > 0
    done = shell(
        "profile", "--model", "small.onnx", "--lane", "cpu/f32/t1", "--synthetic", "40", "--budget", "10min", "--json"
    )
    assert done.returncode == 0, done.stderr
    (lane,) = json.loads(done.stdout)["lanes"]
    assert lane["measured"] + lane["known"] > 20
    trained = shell("retrain", "--json")
    assert trained.returncode == 0, trained.stderr
    first = json.loads(trained.stdout)
    assert first["records"] > 20
    assert first["promoted"]
    again = printed(shell("retrain", "--json"))
    assert not again["promoted"]  # nothing new was measured
    listed = printed(shell("predictors", "--json"))["predictors"]
    assert [(one["version"], one["in_use"]) for one in listed] == [(first["version"], True), (again["version"], False)]
    explained = printed(shell("explain", "small.onnx", "--lane", "cpu/f32/t1", "--top", "2", "--json"))
    assert explained["predictor"] == first["version"]
    assert 0 < explained["stage_low_us"] < explained["stage_us"] < explained["stage_high_us"]
    assert len([kernel for kernel in explained["kernels"] if kernel["explanation"]]) == 2
    assert "nearest measured" in shell("explain", "small.onnx", "--lane", "cpu/f32/t1").stdout
    plan = printed(shell("explain", searched["plan"], "--json"))
    assert [stage["lane"]["processor"] for stage in plan["stages"]]
    assert plan["measured"]["p50_us"] > 0
    assert "the search on " in shell("explain", searched["plan"]).stdout
    back = shell("retrain", "--rollback")
    assert back.returncode == 1
    assert "no earlier version" in back.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["search", "--model", "yolo9000"], 2, "squeezenet"),
        (["search", "--model", "inputs.npz"], 1, "inputs.npz"),
        (["search", "--model", "missing.onnx"], 1, "missing.onnx"),
        (["search", "--model", "small.onnx", "--budget", "soon"], 2, "soon"),
        (["search", "--model", "small.onnx", "--shape", "images=1,3"], 2, "images"),
        (["search", "--model", "small.onnx", "--processors", "abacus"], 1, "abacus"),
        (["search", "--model", "small.onnx", "--inputs", "nowhere.npz"], 1, "nowhere.npz"),
        (["search", "--wrong"], 2, "--wrong"),
        (["profile", "--contention"], 2, "--model"),
        (["retrain", "--learner", "oracle"], 2, "hist_boosted"),
        (["retrain", "--dataset", "nb201_latency"], 2, "--device"),
        (["retrain", "--dataset", "hope_ops", "--device", "redmi"], 1, "was not imported"),
        (["explain", "small.onnx", "--lane", "abacus/f32"], 1, "abacus"),
        (["explain", "small.onnx"], 2, "--lane"),
        (["explain", "."], 1, "plan.json"),
        (["explain", ".", "--dim", "batch=2"], 2, "--dim"),
        (["run", "nowhere", "--inputs", "inputs.npz"], 1, "nowhere"),
        (["export", "nowhere", "--format", "yaml"], 2, "ort-config"),
        (["export", "."], 1, "plan.json"),
        (["datasets", "import", "."], 1, "folder"),
        (["search", "--model", "yolo", "--shape", "images=1,3,330,330"], 2, "32, 64"),
    ],
)
def test_what_is_wrong_is_said_with_its_value(inside: Shell, arguments: list[str], code: int, says: str) -> None:
    done = inside(*arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert done.stdout == ""


def test_a_home_that_cannot_be_written(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    done = subprocess.run(
        [*COMMAND, "search", "--model", str(folder / "small.onnx")],
        env=os.environ | {"AUTOTUNE_HOME": str(folder / "file" / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "AUTOTUNE_HOME" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of a child process")
def test_ctrl_c_prints_the_best_plan_so_far(folder: Path) -> None:
    arguments = ["search", "--model", "small.onnx", "--inputs", "inputs.npz", "--processors", "cpu"]
    with subprocess.Popen(
        [*COMMAND, *arguments, "--budget", "10min", "--trials", "20", "--json"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("decide"):
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        printed, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    found = json.loads(printed)
    assert found["interrupted"] is True
    assert (folder / found["plan"]).is_dir()


def test_public_tables_come_in_and_are_checked(folder: Path, inside: Shell) -> None:
    table = pd.DataFrame({"arch_index": [0, 1], "arch_str": ["x", "y"], "help_ms_red": [1.5, -2.0]})
    table.to_parquet(folder / "nb201_latency.parquet")
    assert inside("datasets", "import", "nb201_latency.parquet").stdout.startswith(
        "nb201_latency: 1 latencies of 2 rows"
    )
    listed = json.loads(inside("datasets", "list", "--json").stdout)["datasets"]
    assert {row["name"] for row in listed if row["imported"]} == {"nb201_latency"}
    assert "refused: row 1, help_ms_red: -2.0" in inside("datasets", "show", "nb201_latency").stdout
    assert inside("datasets", "verify").returncode == 0
    (folder / "home" / "public" / "nb201_latency" / "rows.parquet").unlink()
    damaged = inside("datasets", "verify", "--json")
    assert damaged.returncode == 1
    assert "missing" in json.loads(damaged.stdout)["datasets"][0]["wrong"][0]
    assert "known: fbnet_latency_27cfg" in inside("datasets", "show", "nothing").stderr
