"""Flags for several models, and what is refused before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from typer.testing import CliRunner

from autotune import api
from autotune.api import SearchSettings
from autotune.cli import app
from autotune.core import Fairness
from autotune.errors import UnknownNameError, UsageError
from autotune.terminal.joint_flags import inputs_by_model, parse_fairness, participants
from autotune.terminal.joint_report import outputs_together

NONE: dict[str, list[str]] = {"weights": [], "shapes": [], "dims": [], "inputs": []}


def test_each_model_gets_what_is_meant_for_it() -> None:
    yolo, bert = participants(
        ["yolo", "nets/bert.onnx"],
        weights=["bert=2", "yolo=0.5"],
        shapes=["yolo:images=1,3,64,64", "bert:ids:0=1,8"],
        dims=["nets/bert.onnx:length=16"],
        inputs=["yolo:a.npz", "yolo:b.npz", "nets/bert.onnx:c.npz"],
    )
    assert (yolo.name, yolo.weight, yolo.shapes) == ("yolo", 0.5, {"images": (1, 3, 64, 64)})
    assert (bert.name, bert.weight, bert.shapes) == ("bert", 2.0, {"ids:0": (1, 8)})
    assert bert.dims == {"length": 16}
    assert yolo.inputs == (Path("a.npz"), Path("b.npz"))
    assert bert.inputs == (Path("c.npz"),)


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        ({"inputs": ["a.npz"]}, UsageError, "--inputs yolo:PATH"),
        ({"shapes": ["images=1,3,64,64"]}, UsageError, "--shape yolo:NAME="),
        ({"dims": ["resnet50:height=64"]}, UsageError, "does not say which of yolo, bert_mini"),
        ({"weights": ["resnet50=2"]}, UnknownNameError, "known: yolo, bert_mini"),
        ({"weights": ["yolo"]}, UsageError, "is not MODEL=2"),
        ({"weights": ["yolo=much"]}, UsageError, "is not MODEL=2"),
        ({"weights": ["yolo=0"]}, UsageError, "more than 0"),
        ({"weights": ["yolo=-1"]}, UsageError, "more than 0"),
        ({"weights": ["yolo=nan"]}, UsageError, "more than 0"),
        ({"weights": ["yolo=1", "yolo=2"]}, UsageError, "given twice"),
    ],
)
def test_what_does_not_say_which_model_it_means_is_refused(
    flags: dict[str, list[str]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        participants(["yolo", "bert_mini"], **(NONE | flags))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["yolo", "--weight", "yolo=2"], "--weight has no meaning for one model"),
        (["yolo", "--fairness", "minmax"], "--fairness has no meaning for one model"),
        (["yolo", "--model", "bert_mini", "--device", "recorded:phone"], "takes one --model"),
        (["yolo", "--model", "bert_mini", "--fairness", "equal"], "known: sum, minmax"),
        (["yolo", "--model", "bert_mini", "--model", "yolo"], "yolo is given twice"),
        (["yolo", "--model", "bert_mini", "--inputs", "a.npz"], "--inputs yolo:PATH"),
        (["yolo", "--model", "bert_mini", "--scenario", "MultiStream"], "SingleStream or Offline"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(arguments: list[str], message: str) -> None:
    found = CliRunner().invoke(app, ["search", "--model", *arguments])
    assert isinstance(found.exception, UsageError)
    assert message in str(found.exception)


@pytest.mark.parametrize(("flags", "function"), [([], "profile"), (["--contention"], "profile_contention")])
def test_profile_gives_each_model_its_own_too(monkeypatch: pytest.MonkeyPatch, flags: list[str], function: str) -> None:
    asked: list[tuple[Any, SearchSettings]] = []

    def stop(models: Any, settings: SearchSettings, **_: object) -> NoReturn:
        asked.append((models, settings))
        raise UsageError("far enough")

    monkeypatch.setattr(api, function, stop)
    one = ["profile", "--model", "yolo", *flags]
    CliRunner().invoke(app, [*one, "--dim", "height=320"])
    both = [*one, "--model", "bert_mini"]
    CliRunner().invoke(app, [*both, "--dim", "bert_mini:length=16", "--shape", "yolo:images=1,3,64,64"])
    refused = CliRunner().invoke(app, [*both, "--dim", "length=16"])
    assert "--dim yolo:NAME=640" in str(refused.exception)
    (single, settings), (models, none) = asked
    assert (single, settings.dims) == (["yolo"], {"height": 320})
    assert [(one.model, one.shapes, one.dims) for one in models] == [
        ("yolo", {"images": (1, 3, 64, 64)}, {}),
        ("bert_mini", {}, {"length": 16}),
    ]
    assert not none.dims
    assert not none.shapes


def test_fairness_is_a_sum_unless_asked() -> None:
    assert parse_fairness("") is Fairness.SUM
    assert parse_fairness("minmax") is Fairness.MINMAX


def test_inputs_and_outputs_carry_the_models_name() -> None:
    assert inputs_by_model(["b:x.npz", "a:y.npz"], ["a", "b"]) == {"b": [Path("x.npz")], "a": [Path("y.npz")]}
    one, two = {"y": np.zeros(1)}, {"y": np.ones(1)}
    assert list(outputs_together({"a": [one], "b": [two]})[0]) == ["a:y", "b:y"]
    assert outputs_together({}) == []
    with pytest.raises(UsageError, match="1 of a, 2 of b"):
        outputs_together({"a": [one], "b": [two, two]})
