"""A small network as a file, and one finished search of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.api import SearchResult, SearchSettings, search, searching

PLENTY_S = 600.0
"""Never spent: a search ends by itself, so that what it reaches does not depend on how fast the machine is."""


def write_model(path: Path, *, batch: str | int = "batch", size: int = 24) -> Path:
    """Six convolutions with a skip connection; two outputs, one of them integer."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for at in range(6):
        drawn = (rng.standard_normal((8, 8 if at else 3, 3, 3)) * 0.25).astype(np.float32)
        weights.append(numpy_helper.from_array(drawn, f"w{at}"))
        source = f"a{at}" if at else "images"
        nodes.append(helper.make_node("Conv", [source, f"w{at}"], [f"c{at}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{at}"], [f"a{at + 1}"]))
    nodes.append(helper.make_node("Add", ["a6", "a3"], ["scores"]))
    nodes.append(helper.make_node("ArgMax", ["scores"], ["best"], axis=1))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, size, size])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 8, size, size]),
            helper.make_tensor_value_info("best", TensorProto.INT64, [batch, 1, size, size]),
        ],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model, its inputs and a home."""
    folder = tmp_path_factory.mktemp("search")
    write_model(folder / "small.onnx")
    samples = np.random.default_rng(0).standard_normal((4, 1, 3, 24, 24)).astype(np.float32)
    np.savez(folder / "inputs.npz", images=samples)
    return folder


def quick(place: Path, **changes: object) -> SearchSettings:
    """Settings of a search that takes seconds."""
    values: dict[str, object] = {
        "home": place / "home",
        "budget_s": 5.0,
        "trials": 20,
        "track": False,
        "inputs": (place / "inputs.npz",),
    }
    return SearchSettings(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def found(place: Path) -> SearchResult:
    """A finished search in SingleStream."""
    return search(place / "small.onnx", quick(place, budget_s=PLENTY_S, output=place / "plan"))


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """How noisy this machine is takes a second to say, of every search."""
    monkeypatch.setattr(searching, "noise_check", lambda **_: SimpleNamespace(warnings=()))


@pytest.fixture
def singles_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that end with the baselines, as screened."""
    monkeypatch.setattr(searching, "gather", lambda _: None)
    monkeypatch.setattr(searching, "decide_run", lambda _: None)
