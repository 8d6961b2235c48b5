"""The literal session options of a lane."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from autotune.core import Lane, Precision, Processor
from autotune.errors import ProcessorError, UsageError
from autotune.processors.resolving import resolve
from autotune.processors.spec import SessionSpec

CPU_PROVIDER = "CPUExecutionProvider"
OPENVINO_PROVIDER = "OpenVINOExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"
TENSORRT_RTX_PROVIDER = "NvTensorRTRTXExecutionProvider"
_PRECISION_OPTIONS: Mapping[str, Mapping[Precision, Mapping[str, str]]] = {
    CPU_PROVIDER: {Precision.F32: {}},
    OPENVINO_PROVIDER: {Precision.F32: {}, Precision.BF16: {}, Precision.F16: {}},  # part of load_config
    "CUDAExecutionProvider": {Precision.F32: {"use_tf32": "0"}},  # its default rounds to 10 bits
    TENSORRT_PROVIDER: {
        Precision.F32: {},
        Precision.BF16: {"trt_bf16_enable": "1"},
        Precision.F16: {"trt_fp16_enable": "1"},
    },
}
_QUIET_POOL = ("session.intra_op.allow_spinning", "0")
"""Of a provider with threads of its own: ONNX Runtime's would spin while it compiles, on cores that it needs."""
_AS_IT_IS: Mapping[Precision, Mapping[str, str]] = {Precision.F32: {}, Precision.F16: {}}
"""A provider without a setting computes as it does; the probe names what that is."""


def selectable_precisions(provider: str) -> tuple[Precision, ...]:
    """Precisions that a lane can ask a provider for; empty where the provider has no such setting."""
    return tuple(_PRECISION_OPTIONS.get(provider, ()))


def session_options(lane: Lane, processor: Processor | None = None, *, cache: Path | None = None) -> SessionSpec:
    """The literal options of a lane.

    A lane's option whose name has a dot is a session config entry (`session.intra_op.spin_duration_us`), any other one
    a provider option.

    Args:
        lane: where and how to run.
        processor: what the lane's name means; None looks it up without trying it.
        cache: folder for compiled models, where the provider can use one.

    Raises:
        MissingProcessorError: the lane's processor is not here.
        ProcessorError: the processor cannot be told to compute in the lane's precision.
        UsageError: cores are named for a processor that does not compute on them.
    """
    found = processor or resolve(lane.processor)
    precisions = _PRECISION_OPTIONS.get(found.provider, _AS_IT_IS)
    if lane.precision not in precisions:
        raise ProcessorError(
            f"{lane.processor} cannot be told to compute in {lane.precision}; it knows {', '.join(precisions)}"
        )
    if lane.concurrency.cores and found.device != "cpu":
        raise UsageError(
            f"{lane.processor} cannot be pinned to cores {lane.concurrency.cores}: it computes on a {found.device}"
        )
    given = {name: value for name, value in lane.options if "." not in name}
    config = [(name, value) for name, value in lane.options if "." in name]
    provider_options = {**_cache_options(found.provider, cache), **precisions[lane.precision], **given}
    threads = 0
    if found.provider == CPU_PROVIDER:
        threads = lane.concurrency.threads or len(lane.concurrency.cores)
        config = [*_cpu_config(lane, threads), *config]
    else:
        config = [_QUIET_POOL, *config]
        if found.provider == OPENVINO_PROVIDER:
            provider_options = {**_openvino_options(lane, found, cache), **provider_options}
    return SessionSpec(
        provider=found.provider,
        registration=found.registration,
        library=found.library,
        device=found.device,
        ordinal=found.ordinal,
        provider_options=tuple(provider_options.items()),
        config=tuple(config),
        intra_op_threads=threads,
    )


def _cache_options(provider: str, cache: Path | None) -> dict[str, str]:
    """Of the providers that take the cache as an option; OpenVINO's is part of load_config."""
    if cache is not None and provider == TENSORRT_PROVIDER:
        return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache)}
    if cache is not None and provider == TENSORRT_RTX_PROVIDER:
        return {"nv_runtime_cache_path": str(cache)}
    return {}


def _cpu_config(lane: Lane, threads: int) -> list[tuple[str, str]]:
    setting = lane.concurrency
    config = []
    if setting.spinning is not None:
        config.append(("session.intra_op.allow_spinning", "1" if setting.spinning else "0"))
    if setting.cores and threads > 1:  # the calling thread is the first of them; ONNX Runtime counts cores from 1
        numbers = [str(core + 1) for core in setting.cores]
        fitting = numbers[1:] if len(numbers) == threads else [",".join(numbers)] * (threads - 1)
        config.append(("session.intra_op_thread_affinities", ";".join(fitting)))
    return config


def _openvino_options(lane: Lane, processor: Processor, cache: Path | None) -> dict[str, str]:
    device = processor.device.upper()
    setting = lane.concurrency
    options = {"INFERENCE_PRECISION_HINT": str(lane.precision), "NUM_STREAMS": str(setting.streams)}
    if device == "CPU":
        options["ENABLE_CPU_PINNING"] = "NO"  # two pinned sessions take the same core
        if setting.threads:
            options["INFERENCE_NUM_THREADS"] = str(setting.threads)
    if cache is not None:
        options["CACHE_DIR"] = str(cache)
    chosen = {"device_type": device} if processor.registration == "builtin" else {}
    return {**chosen, "load_config": json.dumps({device: options}, sort_keys=True)}
