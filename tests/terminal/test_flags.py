"""Flags mean what they say, or are refused with their value."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autotune.api.settings import DEFAULT_BUDGET_S, SearchSettings, front_folder, parse_duration, parse_scenario
from autotune.cli import app
from autotune.core import Scenario
from autotune.errors import InputError, UsageError
from autotune.terminal.flags import parse_dims, parse_names, parse_precision, parse_shapes, search_settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("2min", 120), ("2m", 120), ("1m30s", 90), ("0.5h", 1800), ("1 min", 60)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "2 parsecs", "-3s", "1m30", "s"])
def test_no_duration_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


def test_hints_are_other_names_of_scenarios() -> None:
    assert parse_scenario("throughput") is parse_scenario("offline") is Scenario.OFFLINE
    assert parse_scenario("Latency") is parse_scenario("single-stream") is Scenario.SINGLE_STREAM
    with pytest.raises(UsageError, match="speed"):
        parse_scenario("speed")


def test_the_help_names_the_default_budget() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "from autotune.cli import main; main()", "search", "--help"],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = (line for line in shown.splitlines() if "--budget" in line)
    assert parse_duration(line.rsplit("at most ", 1)[1].rstrip("] ")) == DEFAULT_BUDGET_S


def flags(**changes: object) -> SearchSettings:
    """The settings of a command line with these flags only."""
    none: dict[str, object] = dict.fromkeys(
        ("scenario", "hint", "latency_bound", "objectives", "processors", "baseline", "budget", "output"), ""
    )
    none |= {"tolerance": 1e-3, "precision": "auto", "shapes": (), "dims": (), "inputs": (), "trials": None, "seed": 0}
    return search_settings(**(none | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--tolerance", "0.001"), "--tolerance"),  # the default, but asked for
        (("--shape", "x=1,3"), "--shape"),
        (("--trials", "5"), "--trials"),
        (("--processors", "cpu"), "--processors"),
        (("--hint", "throughput"), "throughput"),
        (("--scenario", "Offline"), "Offline"),
        (("--latency-bound", "5ms"), "--latency-bound"),
        (("--objectives", "latency,memory"), "--objectives"),
    ],
)
def test_a_recorded_device_refuses_what_it_cannot_honour(given: tuple[str, str], named: str) -> None:
    arguments = ["search", "--model", "net", "--device", "recorded:nowhere", "--seed", "3", *given]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, UsageError)
    assert named in str(found.exception)
    assert "--device" in str(found.exception)


def test_what_a_recorded_device_honours_is_not_refused() -> None:
    arguments = ["--hint", "latency", "--budget", "1s", "--prove", "1s", "--seed", "3", "--json", "--output", "x"]
    found = CliRunner().invoke(app, ["search", "-m", "net", "--device", "recorded:nowhere", *arguments])
    assert isinstance(found.exception, InputError)
    assert "nowhere" in str(found.exception)


@pytest.mark.parametrize("command", [["search", "-m", "net"], ["profile"], ["retrain"], ["bench", "plan"]])
@pytest.mark.parametrize("seed", [2**31, 2**32, -1])
def test_a_seed_that_generators_do_not_take_is_refused_at_once(command: list[str], seed: int) -> None:
    found = CliRunner().invoke(app, [*command, "--seed", str(seed)])
    assert isinstance(found.exception, UsageError)
    assert re.search(rf"seed must be from 0 to \d+, got {seed}", str(found.exception))
    with pytest.raises(UsageError, match="seed"):
        SearchSettings(seed=seed)


def test_folders_beside_a_folder_called_by_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plan" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "plan" / "inner")
    assert front_folder(Path()) == tmp_path / "plan" / "inner-front"
    assert front_folder(Path("..")) == tmp_path / "plan-front"
    assert front_folder(Path("other")) == Path("other-front")


def test_only_recorded_latencies_have_an_optimum_to_prove() -> None:
    found = CliRunner().invoke(app, ["search", "-m", "net", "--prove", "60s"])
    assert isinstance(found.exception, UsageError)
    assert "--prove 60s" in str(found.exception)
    assert "--device recorded:FOLDER" in str(found.exception)


def test_a_scenario_and_a_hint_must_not_differ() -> None:
    assert flags().scenario is Scenario.SINGLE_STREAM
    assert flags(hint="throughput").scenario is Scenario.OFFLINE
    assert flags(scenario="Offline", hint="throughput").scenario is Scenario.OFFLINE
    with pytest.raises(UsageError, match="--scenario Offline and --hint latency"):
        flags(scenario="Offline", hint="latency")


def test_a_bound_belongs_to_server_and_is_a_duration() -> None:
    assert flags(scenario="multi-stream").scenario is Scenario.MULTI_STREAM
    found = flags(scenario="Server", latency_bound="50ms")
    assert (found.scenario, found.latency_bound_us) == (Scenario.SERVER, 50_000)
    for changes, named in (
        ({"scenario": "Server"}, "--scenario Server needs --latency-bound"),
        ({"latency_bound": "50ms"}, "not to SingleStream"),
        ({"scenario": "Server", "latency_bound": "soon"}, "--latency-bound 'soon'.*50ms"),
        ({"scenario": "Server", "latency_bound": "-5ms"}, "--latency-bound '-5ms'"),
        ({"scenario": "Server", "latency_bound": "0ms"}, "more than 0, got 0 ms"),
    ):
        with pytest.raises(UsageError, match=named):
            flags(**changes)


def test_objectives_are_known_names_each_once() -> None:
    assert flags(objectives="latency, memory").objectives == ("latency", "memory")
    assert flags(objectives="throughput,memory").scenario is Scenario.OFFLINE
    assert flags(objectives="latency,throughput").scenario is Scenario.OFFLINE
    for text, named in (
        ("latency,speed", "latency, throughput, memory, error"),
        ("memory", "single"),
        ("error,error", "twice"),
    ):
        with pytest.raises(UsageError, match=named):
            flags(objectives=text)
    with pytest.raises(UsageError, match="SingleStream"):
        flags(objectives="latency,throughput", scenario="SingleStream")


def test_shapes_and_dims() -> None:
    assert parse_shapes(["images=1,3,320,320", "a=b=2"]) == {"images": (1, 3, 320, 320), "a=b": (2,)}
    assert parse_dims(["height=640"]) == {"height": 640}
    assert parse_names(" cpu, openvino:cpu ,") == ("cpu", "openvino:cpu")


@pytest.mark.parametrize("flag", ["images", "images=", "=1,2", "images=1,x", "images=1,-1", "images=0"])
def test_a_wrong_shape_is_refused_with_its_value(flag: str) -> None:
    with pytest.raises(UsageError, match="shape"):
        parse_shapes([flag])


@pytest.mark.parametrize("flag", ["height", "height=x", "=3", "height=0", "height=-4", "height=²"])
def test_a_wrong_dimension_is_refused_with_its_value(flag: str) -> None:
    with pytest.raises(UsageError, match="dim"):
        parse_dims([flag])


def test_an_unknown_precision_lists_the_known() -> None:
    with pytest.raises(UsageError, match="auto, any, float32"):
        parse_precision("int8")


@pytest.mark.parametrize(
    "wrong", [{"tolerance": -1.0}, {"tolerance": float("nan")}, {"budget_s": 0.0}, {"trials": -1}, {"seed": -1}]
)
def test_settings_refuse_what_cannot_be_meant(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        SearchSettings(**wrong)  # type: ignore[arg-type]
