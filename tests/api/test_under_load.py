"""A plan under load, through the api and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autotune.api.under_load import bench_load, load_scenario
from autotune.cli import app
from autotune.core import Scenario
from autotune.errors import LatencyBoundError, PlanError, UnknownNameError, UsageError
from autotune.runtime import write_plan
from tests.runtime.conftest import make_plan, stage_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_plan(make_plan(), tmp_path / "plan", files=stage_files(tmp_path / "staging"), whole="whole.onnx")
    return tmp_path / "plan"


def test_a_server_reports_its_rate_and_what_came_closest(folder: Path, tmp_path: Path) -> None:
    options = {"queries": 20, "generator_name": "own", "home": tmp_path / "home"}
    found = bench_load(folder, Scenario.SERVER, latency_bound_us=60e6, **options)  # type: ignore[arg-type]
    assert found.server is not None
    assert found.report == found.server.best
    assert found.server.rate_per_s > 0
    never = bench_load(folder, Scenario.SERVER, latency_bound_us=1e-3, **options)  # type: ignore[arg-type]
    assert (never.report, never.server is None) == (None, False)


def test_a_bound_that_nothing_keeps_fails_after_the_report(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))
    command = ["bench", str(folder), "--latency-bound", "0.001ms", "--queries", "20", "--generator", "own"]
    done = CliRunner().invoke(app, command)
    assert "no run keeps p99 within 0.001 ms: the closest has" in " ".join(done.stdout.split())
    assert isinstance(done.exception, LatencyBoundError)
    assert done.exception.exit_code == 1
    assert "--latency-bound" in str(done.exception)
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert found["report"] is None
    assert len(found["server"]["runs"]) == 1


def test_the_command_line_drives_a_plan(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))
    command = ["bench", str(folder), "--scenario", "multi-stream", "--queries", "5", "--generator", "own"]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["scenario"], found["report"]["load"]["queries"], found["server"]) == ("MultiStream", 5, None)
    shown = CliRunner().invoke(app, command)
    assert shown.stdout.startswith("tiny, MultiStream: ")
    assert "not an MLPerf result" in shown.stdout


def test_what_cannot_be_meant_is_refused(folder: Path, tmp_path: Path) -> None:
    assert load_scenario("single_stream") is Scenario.SINGLE_STREAM
    with pytest.raises(UsageError, match="SingleStream, MultiStream, Server, Offline"):
        load_scenario("burst")
    with pytest.raises(UsageError, match="needs --latency-bound"):
        bench_load(folder, Scenario.SERVER)
    with pytest.raises(UsageError, match="belongs to --scenario Server"):
        bench_load(folder, Scenario.OFFLINE, latency_bound_us=5.0)
    with pytest.raises(UsageError, match="more than 0"):
        bench_load(folder, Scenario.SERVER, latency_bound_us=0.0)
    with pytest.raises(UnknownNameError, match="load generator"):
        bench_load(folder, Scenario.OFFLINE, generator_name="locust")
    with pytest.raises(PlanError):
        bench_load(tmp_path / "nothing", Scenario.OFFLINE)
