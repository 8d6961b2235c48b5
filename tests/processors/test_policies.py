"""ONNX Runtime's own device policies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from autotune.errors import UnknownNameError
from autotune.processors import create_policy_session, policies
from autotune.processors.probe_model import INPUT, probe_input


def test_there_are_policies_only_where_there_is_a_choice() -> None:
    assert bool(policies()) == (len(ort.get_ep_devices()) > 1)


def test_every_policy_that_is_offered_runs(model_file: Path) -> None:
    for policy in policies():
        output = create_policy_session(model_file, policy).run(None, {INPUT: probe_input()})[0]
        assert np.isfinite(output).all()


def test_an_unknown_policy_lists_the_known(model_file: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown device policy 'FASTEST'"):
        create_policy_session(model_file, "FASTEST")
