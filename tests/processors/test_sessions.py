"""Sessions: made in one place, and never another provider's by surprise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from autotune.core import DEFAULT_LANE, Lane, Processor
from autotune.errors import MissingProcessorError, SessionError
from autotune.processors import SessionSpec, create_session, session_options
from autotune.processors.probe import relative_rms
from autotune.processors.probe_model import INPUT, probe_input, probe_model


def outputs(session: ort.InferenceSession) -> np.ndarray:
    return np.asarray(session.run(None, {INPUT: probe_input()})[0])


@pytest.mark.parametrize("text", ["cpu/f32/t1", "cpu/f32/t2/nospin", "cpu/f32/t2/c0"])
def test_lanes_of_the_cpu_give_the_default_outputs(model: bytes, text: str) -> None:
    assert (
        relative_rms(outputs(create_session(model, Lane.parse(text))), outputs(create_session(model, DEFAULT_LANE)))
        < 1e-6
    )


def test_a_session_is_made_from_a_path_a_string_or_bytes(model: bytes, model_file: Path) -> None:
    found = [outputs(create_session(source, DEFAULT_LANE)) for source in (model, model_file, str(model_file))]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_options_reach_the_session(model: bytes) -> None:
    spec = SessionSpec(
        provider="CPUExecutionProvider",
        intra_op_threads=2,
        inter_op_threads=2,
        execution_mode="parallel",
        graph_optimization="basic",
        config=(("session.intra_op.allow_spinning", "0"),),
    )
    options = create_session(model, spec).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2)
    assert options.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_model_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(SessionError) as caught:
        create_session(path, DEFAULT_LANE)
    assert str(caught.value).startswith("CPUExecutionProvider cannot run this model: ")
    assert "\n" not in str(caught.value)


def test_a_provider_that_this_build_lacks_is_named(model: bytes) -> None:
    with pytest.raises(MissingProcessorError, match=r"has no NoSuchExecutionProvider; it has .*CPUExecutionProvider"):
        create_session(model, SessionSpec(provider="NoSuchExecutionProvider"))


def test_a_library_that_cannot_be_registered_is_an_error_of_ours(model: bytes, tmp_path: Path) -> None:
    library = tmp_path / "libbroken.so"
    library.write_bytes(b"no library")
    spec = SessionSpec(provider="BrokenExecutionProvider", registration="plugin", library=str(library))
    with pytest.raises(SessionError, match="cannot be registered"):
        create_session(model, spec)


@pytest.mark.openvino
def test_openvino_computes_in_the_lanes_precision(model: bytes, openvino: Processor) -> None:
    reference = outputs(create_session(model, DEFAULT_LANE))
    for precision in openvino.precisions:
        lane = Lane(processor=openvino.name, precision=precision)
        error = relative_rms(outputs(create_session(model, lane)), reference)
        assert (error < 1e-5) == precision.is_reference


@pytest.mark.openvino
def test_a_silent_fallback_to_the_cpu_is_an_error(model: bytes, openvino: Processor) -> None:
    if openvino.registration == "plugin":
        pytest.skip("only the built-in provider falls back silently")
    spec = SessionSpec(provider=openvino.provider, provider_options=(("device_type", "GPU.7"),))
    with pytest.raises(SessionError):
        create_session(model, spec)


@pytest.mark.openvino
def test_an_unknown_property_says_which(openvino: Processor) -> None:
    spec = SessionSpec(
        provider=openvino.provider,
        registration=openvino.registration,
        library=openvino.library,
        provider_options=(("load_config", '{"CPU": {"NO_SUCH_PROPERTY": "1"}}'),),
    )
    with pytest.raises(SessionError, match="NO_SUCH_PROPERTY"):
        create_session(probe_model(), spec)


@pytest.mark.openvino
def test_openvino_keeps_compiled_models(model: bytes, openvino: Processor, tmp_path: Path) -> None:
    first = outputs(create_session(model, Lane(processor=openvino.name), cache=tmp_path))
    assert any(tmp_path.iterdir())
    assert np.array_equal(outputs(create_session(model, Lane(processor=openvino.name), cache=tmp_path)), first)


@pytest.mark.openvino
def test_two_sessions_are_not_pinned_to_one_core(openvino: Processor) -> None:
    spec = session_options(Lane.parse("openvino:cpu/f32/t1"), openvino)
    assert '"ENABLE_CPU_PINNING": "NO"' in dict(spec.provider_options)["load_config"]
