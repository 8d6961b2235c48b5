"""A lane's literal session options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.core import Lane, Processor
from autotune.errors import ProcessorError, UsageError
from autotune.processors import SessionSpec, session_options

Make = Callable[..., Processor]


def cpu(text: str) -> SessionSpec:
    return session_options(Lane.parse(text))


def test_the_default_lane_leaves_everything_to_onnx_runtime() -> None:
    assert cpu("cpu") == SessionSpec(provider="CPUExecutionProvider")


def test_threads_and_spinning_of_the_cpu() -> None:
    spec = cpu("cpu/f32/t2/nospin")
    assert (spec.intra_op_threads, spec.config) == (2, (("session.intra_op.allow_spinning", "0"),))


@pytest.mark.parametrize(
    ("lane", "threads", "affinities"),
    [
        ("cpu/f32/t3/c0+2+5", 3, "3;6"),  # the calling thread is the first; ONNX Runtime counts from 1
        ("cpu/f32/c0+1", 2, "2"),
        ("cpu/f32/t3/c0+1", 3, "1,2;1,2"),
    ],
)
def test_pinned_cores(lane: str, threads: int, affinities: str) -> None:
    spec = cpu(lane)
    assert spec.intra_op_threads == threads
    assert dict(spec.config)["session.intra_op_thread_affinities"] == affinities


def test_one_thread_has_none_to_pin() -> None:
    assert cpu("cpu/f32/t1/c0").config == ()


def test_options_with_a_dot_are_session_config() -> None:
    spec = cpu("cpu/f32/session.intra_op.spin_duration_us=100/use_arena=0")
    assert spec.config == (("session.intra_op.spin_duration_us", "100"),)
    assert spec.provider_options == (("use_arena", "0"),)


def openvino_config(spec: SessionSpec) -> dict[str, str]:
    found = json.loads(dict(spec.provider_options)["load_config"])["CPU"]
    return dict(found)


def test_openvino_is_always_told_its_precision(processor: Make) -> None:
    found = processor("OpenVINOExecutionProvider")
    spec = session_options(Lane.parse("some:cpu"), found)
    assert openvino_config(spec) == {
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": "NO",
    }
    assert dict(spec.provider_options)["device_type"] == "CPU"


def test_openvino_threads_streams_and_cache(processor: Make, tmp_path: Path) -> None:
    spec = session_options(Lane.parse("some:cpu/bf16/t2/s2"), processor("OpenVINOExecutionProvider"), cache=tmp_path)
    config = openvino_config(spec)
    assert config["INFERENCE_PRECISION_HINT"] == "bf16"
    assert (config["INFERENCE_NUM_THREADS"], config["NUM_STREAMS"]) == ("2", "2")
    assert config["CACHE_DIR"] == str(tmp_path)


@pytest.mark.parametrize(("options", "spins"), [("", "0"), ("/session.intra_op.allow_spinning=1", "1")])
def test_onnx_runtimes_threads_rest_beside_a_provider_with_its_own(processor: Make, options: str, spins: str) -> None:
    spec = session_options(Lane.parse(f"some:cpu/f32{options}"), processor("OpenVINOExecutionProvider"))
    assert dict(spec.config)["session.intra_op.allow_spinning"] == spins


@pytest.mark.parametrize(
    ("provider", "folder"),
    [
        ("TensorrtExecutionProvider", "trt_engine_cache_path"),
        ("NvTensorRTRTXExecutionProvider", "nv_runtime_cache_path"),
    ],
)
def test_engines_are_kept_where_the_cache_is(processor: Make, tmp_path: Path, provider: str, folder: str) -> None:
    lane, found = Lane.parse("some:gpu/f16"), processor(provider, device="gpu")
    options = dict(session_options(lane, found, cache=tmp_path).provider_options)
    assert options[folder] == str(tmp_path)
    assert options.get("trt_engine_cache_enable", "1") == "1"
    assert not any("cache" in name for name, _ in session_options(lane, found).provider_options)


def test_a_plugins_device_is_chosen_by_registration_not_by_option(processor: Make) -> None:
    spec = session_options(Lane.parse("some:cpu"), processor("OpenVINOExecutionProvider", library="/x/libov.so"))
    assert "device_type" not in dict(spec.provider_options)
    assert (spec.registration, spec.library) == ("plugin", "/x/libov.so")


def test_float32_means_float32_on_cuda(processor: Make) -> None:
    spec = session_options(Lane.parse("some:gpu"), processor("CUDAExecutionProvider", device="gpu"))
    assert dict(spec.provider_options)["use_tf32"] == "0"


def test_a_lane_may_overrule_an_option(processor: Make) -> None:
    spec = session_options(Lane.parse("some:gpu/f32/use_tf32=1"), processor("CUDAExecutionProvider", device="gpu"))
    assert dict(spec.provider_options)["use_tf32"] == "1"


def test_a_precision_that_a_processor_does_not_have_is_refused() -> None:
    with pytest.raises(ProcessorError, match="cpu cannot be told to compute in bf16; it knows f32"):
        cpu("cpu/bf16/t1")


def test_cores_of_a_processor_that_cannot_be_pinned_are_refused(processor: Make) -> None:
    with pytest.raises(UsageError, match="computes on a gpu"):
        session_options(Lane.parse("some:gpu/f32/c0+1"), processor("OpenVINOExecutionProvider", device="gpu"))
