"""ONNX Runtime's own device policies."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from autotune.errors import SessionError, UnknownNameError
from autotune.processors import create_policy_session, policies, policy_choices
from autotune.processors.probe_model import INPUT, probe_input


def test_there_are_policies_only_where_there_is_a_choice() -> None:
    assert bool(policies()) == (len(ort.get_ep_devices()) > 1)


def test_every_policy_that_is_offered_runs(model_file: Path) -> None:
    for policy in policies():
        output = create_policy_session(model_file, policy).run(None, {INPUT: probe_input()})[0]
        assert np.isfinite(output).all()


def test_what_each_policy_chooses_is_told() -> None:
    choices = policy_choices(policies())
    assert all("ExecutionProvider" in choice[0] for choice in choices)
    assert policy_choices(policies()) == choices


def test_a_policy_that_cannot_run_is_like_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SessionError("refused")

    monkeypatch.setattr(sys.modules[policy_choices.__module__], "create_policy_session", refuse)
    assert policy_choices(["A", "B"]) == [("A",), ("B",)]


def test_an_unknown_policy_lists_the_known(model_file: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown device policy 'FASTEST'"):
        create_policy_session(model_file, "FASTEST")
