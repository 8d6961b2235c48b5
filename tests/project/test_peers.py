"""benchmarks/peers.py reads what other tools print, and says why one gave nothing."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from autotune.core import Failure, Measurement

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("peers")


def program(folder: Path, *lines: str) -> str:
    path = folder / "benchmark_app"
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return str(path)


def measured(peers: ModuleType, app: str, hint: str) -> Measurement | Failure:
    found: Measurement | Failure = peers.benchmark_app(app, Path("model.onnx"), hint, precision="f32", seconds=1)
    return found


def test_openvinos_figures_are_read(peers: ModuleType, tmp_path: Path) -> None:
    app = program(tmp_path, "echo '[ INFO ]    Median:        17.80 ms'", "echo '[ INFO ] Throughput:   50.00 FPS'")
    assert measured(peers, app, "latency") == Measurement(samples_us=(17800.0,))
    assert measured(peers, app, "throughput") == Measurement(samples_us=(20000.0,))


def test_a_tool_that_gives_nothing_is_a_failure_with_its_last_line(peers: ModuleType, tmp_path: Path) -> None:
    app = program(tmp_path, "echo 'File \"/secret/place.py\"' >&2", "echo 'RuntimeError: no such model' >&2", "exit 3")
    failed = measured(peers, app, "latency")
    assert isinstance(failed, Failure)
    assert failed.message == "benchmark_app ended with 3: RuntimeError: no such model"
    absent = measured(peers, str(tmp_path / "nowhere"), "latency")
    assert isinstance(absent, Failure)
    assert absent.message == "benchmark_app: FileNotFoundError"
