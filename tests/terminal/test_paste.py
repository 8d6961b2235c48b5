"""A command that lacks dimensions is printed with them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from autotune.cli import main


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a dimension that has a name and one that has none."""
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("wide", [1, "height"]), ("high", [1, None]), ("y", None))
    ]
    graph = helper.make_graph([helper.make_node("Add", ["wide", "high"], ["y"])], "open", ends[:2], ends[2:])
    path = tmp_path / "my net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return str(path)


@pytest.mark.parametrize(
    ("before", "after", "whose"),
    [
        (["search", "--model"], ["--budget", "1min"], ""),
        (["search", "-m"], ["-m", "squeezenet", "--shape", "squeezenet:images=1,3,32,32"], "my net:"),
        (["profile", "--model"], ["--lane", "cpu/f32"], ""),
        (["explain"], ["--lane", "cpu/f32"], ""),
    ],
)
def test_the_command_as_typed_with_what_it_lacks(
    model: str,
    before: list[str],
    after: list[str],
    whose: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed = [*before, model, *after]
    monkeypatch.setattr(sys, "argv", ["/somewhere/autotune", *typed])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    missing = ["--dim", f"{whose}height=VALUE", "--shape", f"{whose}high=1,VALUE"]
    assert shlex.split(printed) == ["autotune", *typed, *missing]
