"""Sessions: the one place where they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from autotune.core import Lane, one_line
from autotune.errors import MissingProcessorError, SessionError
from autotune.processors import plugins
from autotune.processors.cores import pinned
from autotune.processors.narrow import adapted
from autotune.processors.options import session_options
from autotune.processors.resolving import locate
from autotune.processors.spec import SessionSpec

_QUIET = 4
_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "layout": getattr(ort.GraphOptimizationLevel, "ORT_ENABLE_LAYOUT", ort.GraphOptimizationLevel.ORT_ENABLE_ALL),
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def create_session(
    model: str | Path | bytes, lane: Lane | SessionSpec, *, cache: Path | None = None, shared_pool: bool = False
) -> ort.InferenceSession:
    """A session for a model on a lane.

    A provider that fails never falls back to another one, neither here nor in a later `run`. Threads that the provider
    starts stay on the lane's cores, also where it has no option for it (OpenVINO); the thread that calls `run` is not
    moved.

    Args:
        model: path or serialised model.
        lane: a lane, or literal options.
        cache: folder for compiled models, where the provider can use one.
        shared_pool: whether the process's global thread pool is used (its sizes must have been set before).

    Raises:
        MissingProcessorError: the lane's processor is not here.
        UsageError: the lane is pinned to cores that this process may not use.
        SessionError: ONNX Runtime refused, or the provider silently left everything to the CPU provider.
    """
    if not isinstance(lane, Lane):
        spec = locate(lane)
        return open_session(model, spec, native_options(spec, shared_pool=shared_pool))
    spec = session_options(lane, cache=cache)
    with pinned(lane.concurrency.cores):
        return open_session(model, spec, native_options(spec, shared_pool=shared_pool))


def open_session(model: str | Path | bytes, spec: SessionSpec, options: ort.SessionOptions) -> ort.InferenceSession:
    """A session with options that `native_options` made."""
    source: str | bytes = model if isinstance(model, bytes) else str(model)
    built_in = plugins.built_in()
    if spec.registration == "builtin" and spec.provider not in built_in:
        raise MissingProcessorError(f"this build of ONNX Runtime has no {spec.provider}; it has {', '.join(built_in)}")
    device = _plugin_device(spec) if spec.registration == "plugin" else None
    chosen: list[Any] | None = None if device is not None else [(spec.provider, dict(spec.provider_options))]
    try:
        if device is not None:
            options.add_provider_for_devices([device], dict(spec.provider_options))
        session = ort.InferenceSession(source, options, providers=chosen, enable_fallback=0)
    except Exception as error:
        raise SessionError(f"{spec.provider} cannot run this model: {one_line(error)}") from error
    if spec.provider not in session.get_providers():
        raise SessionError(
            f"{spec.provider} cannot be set up with {dict(spec.provider_options)}: ONNX Runtime left the model to "
            f"{', '.join(session.get_providers())}. Check the options, and that this machine has the device."
        )
    return adapted(session)


def native_options(spec: SessionSpec, *, shared_pool: bool = False) -> ort.SessionOptions:
    """ONNX Runtime's own options object."""
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    options.graph_optimization_level = _LEVELS[spec.graph_optimization]
    if spec.execution_mode == "parallel":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
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
    try:
        plugins.register(spec.provider, spec.library)
    except Exception as error:
        raise SessionError(f"the library of {spec.provider} cannot be registered: {one_line(error)}") from error
    wanted = [item for item in plugins.devices(spec.provider) if plugins.device_kind(item) == spec.device]
    if len(wanted) <= spec.ordinal:
        raise MissingProcessorError(f"{spec.provider} offers no {spec.device} number {spec.ordinal} here")
    return wanted[spec.ordinal]
