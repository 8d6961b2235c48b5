"""Sessions: the one place where they are made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime as ort

from autotune.core import Lane, Processor
from autotune.errors import MissingProcessorError, SessionError, UnknownNameError
from autotune.processors import plugins
from autotune.processors.discovery import discover, resolve
from autotune.processors.spec import SessionSpec

CPU_PROVIDER = "CPUExecutionProvider"
OPENVINO_PROVIDER = "OpenVINOExecutionProvider"
_QUIET = 4
_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "layout": getattr(ort.GraphOptimizationLevel, "ORT_ENABLE_LAYOUT", ort.GraphOptimizationLevel.ORT_ENABLE_ALL),
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def session_options(lane: Lane, processor: Processor | None = None, *, cache: Path | None = None) -> SessionSpec:
    """The literal options of a lane.

    Args:
        lane: where and how to run.
        processor: what the lane's name means; None looks it up.
        cache: folder for compiled models, where the provider can use one.

    Raises:
        MissingProcessorError: the lane's processor is not here.
    """
    found = processor or resolve(lane.processor)
    common = {
        "provider": found.provider,
        "registration": found.registration,
        "library": found.library,
        "device": found.device,
        "ordinal": found.ordinal,
    }
    if found.provider == CPU_PROVIDER:
        setting = lane.concurrency
        return SessionSpec(
            **common,  # type: ignore[arg-type]
            config=_cpu_config(lane),
            intra_op_threads=setting.threads or len(setting.cores),
            provider_options=lane.options,
        )
    if found.provider == OPENVINO_PROVIDER:
        options = {"device_type": found.device.upper()} if found.registration == "builtin" else {}
        options["load_config"] = _openvino_config(lane, found.device.upper(), cache)
        return SessionSpec(**common, provider_options=(*options.items(), *lane.options))  # type: ignore[arg-type]
    return SessionSpec(**common, provider_options=lane.options)  # type: ignore[arg-type]


def _cpu_config(lane: Lane) -> tuple[tuple[str, str], ...]:
    """Spinning, and cores: the calling thread is the first of the pool; ONNX Runtime counts processors from 1."""
    setting = lane.concurrency
    config = []
    if setting.spinning is not None:
        config.append(("session.intra_op.allow_spinning", "1" if setting.spinning else "0"))
    threads = setting.threads or len(setting.cores)
    if setting.cores and threads > 1:
        numbers = [str(core + 1) for core in setting.cores]
        each = numbers[1:threads] if threads <= len(numbers) else [",".join(numbers)] * (threads - 1)
        config.append(("session.intra_op_thread_affinities", ";".join(each)))
    return tuple(config)


def _openvino_config(lane: Lane, device: str, cache: Path | None) -> str:
    setting = lane.concurrency
    options: dict[str, str] = {"INFERENCE_PRECISION_HINT": str(lane.precision), "NUM_STREAMS": str(setting.streams)}
    if setting.threads and device == "CPU":
        options["INFERENCE_NUM_THREADS"] = str(setting.threads)
    if device == "CPU" and not setting.cores:
        options["ENABLE_CPU_PINNING"] = "NO"  # two pinned sessions take the same core
    if cache is not None:
        options["CACHE_DIR"] = str(cache)
    return json.dumps({device: options}, sort_keys=True)


def create_session(
    model: str | Path | bytes, lane: Lane | SessionSpec, *, cache: Path | None = None, shared_pool: bool = False
) -> ort.InferenceSession:
    """A session for a model on a lane.

    Args:
        model: path or serialised model.
        lane: a lane, or literal options.
        cache: folder for compiled models, where the provider can use one.
        shared_pool: whether the process's global thread pool is used (its sizes must have been set before).

    Raises:
        MissingProcessorError: the lane's processor is not here.
        SessionError: ONNX Runtime refused, or the provider silently left everything to the CPU provider.
    """
    spec = _located(session_options(lane, cache=cache) if isinstance(lane, Lane) else lane)
    source: str | bytes = model if isinstance(model, bytes) else str(model)
    try:
        options = _options(spec, shared_pool=shared_pool)
        if spec.registration == "plugin":
            plugins.register(spec.provider, spec.library)
            options.add_provider_for_devices([_plugin_device(spec)], dict(spec.provider_options))
            session = ort.InferenceSession(source, options, enable_fallback=0)
        else:
            providers: list[Any] = [(spec.provider, dict(spec.provider_options))]
            session = ort.InferenceSession(source, options, providers=providers, enable_fallback=0)
    except MissingProcessorError:
        raise
    except Exception as error:
        where = "a serialised model" if isinstance(model, bytes) else str(model)
        raise SessionError(f"{spec.provider} cannot run {where}: {_one_line(error)}") from error
    if spec.provider not in session.get_providers():
        settings = dict(spec.provider_options)
        raise SessionError(f"{spec.provider} could not be set up with {settings}: ONNX Runtime left it out in silence")
    return session


def _located(spec: SessionSpec) -> SessionSpec:
    """A provider that this build of ONNX Runtime lacks may be here as a plugin: a user's own options name it alike."""
    if spec.registration == "plugin" or spec.provider in ort.get_available_providers():
        return spec
    for processor in discover().processors:
        if processor.provider == spec.provider and processor.registration == "plugin":
            return replace(
                spec,
                registration="plugin",
                library=processor.library,
                device=processor.device,
                ordinal=processor.ordinal,
            )
    here = ", ".join(dict.fromkeys(processor.provider for processor in discover().processors))
    raise MissingProcessorError(f"no provider {spec.provider!r} here; known: {here}. `autotune processors` says why.")


def _options(spec: SessionSpec, *, shared_pool: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    options.graph_optimization_level = _LEVELS[spec.graph_optimization]
    if shared_pool:
        options.use_per_session_threads = False
    elif spec.intra_op_threads:
        options.intra_op_num_threads = spec.intra_op_threads
    if spec.inter_op_threads:
        options.inter_op_num_threads = spec.inter_op_threads
    for name, value in spec.config:
        if not (shared_pool and name == "session.intra_op_thread_affinities"):
            options.add_session_config_entry(name, value)
    return options


def _plugin_device(spec: SessionSpec) -> Any:
    wanted = [item for item in plugins.devices(spec.provider) if plugins.device_kind(item) == spec.device]
    if len(wanted) <= spec.ordinal:
        raise MissingProcessorError(f"{spec.provider} offers no {spec.device} number {spec.ordinal} here")
    return wanted[spec.ordinal]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def policies() -> tuple[str, ...]:
    """Names of ONNX Runtime's device policies, where there is more than one device to choose from."""
    if not (hasattr(ort, "OrtExecutionProviderDevicePolicy") and hasattr(ort, "get_ep_devices")):
        return ()
    if not hasattr(ort.SessionOptions, "set_provider_selection_policy"):
        return ()
    for processor in discover().processors:
        if processor.registration == "plugin":
            plugins.register(processor.provider, processor.library)
    if len(ort.get_ep_devices()) < 2:
        return ()
    return tuple(ort.OrtExecutionProviderDevicePolicy.__members__)


def create_policy_session(model: str | Path, policy: str) -> ort.InferenceSession:
    """A session for which ONNX Runtime chooses the device by one of its policies.

    Raises:
        UnknownNameError: there is no such policy here.
        SessionError: ONNX Runtime refused.
    """
    known = policies()
    if policy not in known:
        raise UnknownNameError("device policy", policy, known=known, hint="Policies need more than one device.")
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    try:
        options.set_provider_selection_policy(getattr(ort.OrtExecutionProviderDevicePolicy, policy))
        return ort.InferenceSession(str(model), options, enable_fallback=0)
    except Exception as error:
        raise SessionError(f"the policy {policy} cannot run {model}: {_one_line(error)}") from error
