"""Literal session options, from users and for other programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.errors import UsageError
from autotune.processors import SessionSpec
from autotune.processors.spec import LEVELS, MODES

texts = st.text(max_size=8)
pairs = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)


@given(
    st.builds(
        SessionSpec,
        provider=texts,
        registration=st.sampled_from(("builtin", "plugin")),
        provider_options=pairs,
        config=pairs,
        intra_op_threads=st.integers(0, 64),
        graph_optimization=st.sampled_from(LEVELS),
        execution_mode=st.sampled_from(MODES),
    )
)
def test_what_is_stored_comes_back(spec: SessionSpec) -> None:
    assert SessionSpec.from_stored(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_users_options_become_literal_ones() -> None:
    spec = SessionSpec.from_json(
        {
            "providers": ["OpenVINOExecutionProvider", "CPUExecutionProvider"],
            "provider_options": [{"device_type": "CPU", "load_config": {"CPU": {"NUM_STREAMS": 2}}}, {}],
            "intra_op_num_threads": 3,
            "inter_op_num_threads": 1,
            "session_config": {"session.intra_op.allow_spinning": 0},
            "graph_optimization_level": "ORT_ENABLE_EXTENDED",
            "execution_mode": "ORT_PARALLEL",
        }
    )
    assert spec.provider == "OpenVINOExecutionProvider"
    assert dict(spec.provider_options) == {"device_type": "CPU", "load_config": '{"CPU": {"NUM_STREAMS": 2}}'}
    assert spec.config == (("session.intra_op.allow_spinning", "0"),)
    assert (spec.intra_op_threads, spec.inter_op_threads) == (3, 1)
    assert (spec.graph_optimization, spec.execution_mode) == ("extended", "parallel")


def test_a_provider_may_carry_its_options_beside_its_name() -> None:
    spec = SessionSpec.from_json({"providers": [["CPUExecutionProvider", {"use_arena": "0"}]]})
    assert (spec.provider, spec.provider_options) == ("CPUExecutionProvider", (("use_arena", "0"),))


def test_nothing_given_is_the_default() -> None:
    assert SessionSpec.from_json({}) == SessionSpec(provider="CPUExecutionProvider")


@pytest.mark.parametrize(
    ("level", "known"), [("all", "all"), (0, "disabled"), (99, "all"), ("ORT_DISABLE_ALL", "disabled")]
)
def test_levels_are_understood_as_onnx_runtime_writes_them(level: object, known: str) -> None:
    assert SessionSpec.from_json({"graph_optimization_level": level}).graph_optimization == known


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"intra_op_threads": 2}, "unknown session option intra_op_threads; known: providers,"),
        ({"intra_op_num_threads": -1}, "at least 0, got -1"),
        ({"intra_op_num_threads": True}, "got True"),
        ({"session_config": []}, "session_config must be an object"),
        ({"providers": []}, "providers must be a list"),
        ({"providers": [3]}, "do not fit"),
        ({"graph_optimization_level": "most"}, "unknown graph optimization level 'most'; known: disabled"),
        ({"execution_mode": "fast"}, "unknown execution mode 'fast'; known: sequential, parallel"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SessionSpec.from_json(data)
