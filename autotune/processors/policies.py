"""ONNX Runtime's own device policies: it chooses, by a name for what is preferred, without measuring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from autotune.core import one_line
from autotune.errors import SessionError, UnknownNameError
from autotune.processors import plugins
from autotune.processors.discovery import discover
from autotune.processors.probe_model import probe_model


def policies() -> tuple[str, ...]:
    """Names of the policies; none where there is only one device, so that there is nothing to choose."""
    if not hasattr(ort, "OrtExecutionProviderDevicePolicy") or not hasattr(ort, "get_ep_devices"):
        return ()
    for processor in discover().processors:
        if processor.registration == "plugin":
            plugins.register(processor.provider, processor.library)
    if len(ort.get_ep_devices()) < 2:
        return ()
    return tuple(ort.OrtExecutionProviderDevicePolicy.__members__)


def policy_choices(names: Sequence[str]) -> list[tuple[str, ...]]:
    """What each policy chooses, to be compared: providers and device; its own name where it cannot be asked."""
    found = []
    for name in names:
        try:
            session = create_policy_session(probe_model(), name)
            devices = [item for item in session.get_input_epdevices() if item is not None]
            named = [f"{item.ep_name} {item.device.type} {item.device.device_id}" for item in devices]
            found.append((*session.get_providers(), *named))
        except (SessionError, AttributeError):  # AttributeError: an ONNX Runtime that does not tell devices
            found.append((name,))
    return found


def create_policy_session(model: str | Path | bytes, policy: str) -> ort.InferenceSession:
    """A session for which ONNX Runtime chooses the device.

    Raises:
        UnknownNameError: there is no such policy here.
        SessionError: ONNX Runtime refused.
    """
    known = policies()
    if policy not in known:
        raise UnknownNameError("device policy", policy, known=known)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        options.set_provider_selection_policy(getattr(ort.OrtExecutionProviderDevicePolicy, policy))
        source: str | bytes = model if isinstance(model, bytes) else str(model)
        return ort.InferenceSession(source, options, enable_fallback=0)
    except Exception as error:
        raise SessionError(f"the policy {policy} cannot run this model: {one_line(error)}") from error
