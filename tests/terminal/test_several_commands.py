"""`search`, `run` and `bench` of several models as a user types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.api.conftest import write_model

from .test_commands import COMMAND, environment

pytestmark = pytest.mark.slow
MODELS = ["--model", "small.onnx", "--model", "wide.onnx"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("several")
    for name, size in (("small", 24), ("wide", 32)):
        write_model(place / f"{name}.onnx", size=size)
        samples = np.random.default_rng(0).standard_normal((2, 1, 3, size, size)).astype(np.float32)
        np.savez(place / f"{name}.npz", images=samples)
    return place


def call(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_search_run_and_bench(folder: Path) -> None:
    given = ["--inputs", "small:small.npz", "--inputs", "wide:wide.npz", "--weight", "wide=2"]
    found = json.loads(call(folder, "search", *MODELS, *given, "--budget", "60s", "-o", "plan", "--json"))
    assert [model["weight"] for model in found["models"]] == [1.0, 2.0]
    assert call(folder, "bench", "plan", "--launches", "2").startswith("Run ")
    ran = json.loads(call(folder, "run", "plan", *given[:4], "-o", "out.npz", "--json"))
    assert set(ran["samples"][0]) == {"small:scores", "small:best", "wide:scores", "wide:best"}
    assert np.load(folder / "out.npz")["wide:scores"].shape == (2, 1, 8, 32, 32)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of a child process")
def test_ctrl_c_gives_the_best_so_far_and_leaves_no_process(folder: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "search", *MODELS, "--budget", "10min", "--trials", "20", "--json"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("decide together"):
                break
        time.sleep(0.5)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        printed, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    assert json.loads(printed)["interrupted"] is True
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
