"""Run as a program: what one provider can do here, as JSON on the last line of stdout.

A provider that crashes takes only this process with it. Argument: a JSON object with `provider`, `registration`,
`library` and `devices` (for a built-in provider).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import onnxruntime as ort

from autotune.core import Lane, Precision, Processor
from autotune.processors import plugins
from autotune.processors.options import selectable_precisions, session_options
from autotune.processors.probe_model import INPUT, probe_input, probe_model
from autotune.processors.sessions import create_session

SELECTABLE = {"OpenVINOExecutionProvider": (Precision.F32, Precision.BF16, Precision.F16)}
"""Providers whose precision a lane chooses; the others compute in the model's."""
ROUNDING = {Precision.F32: (0.0, 2e-2), Precision.BF16: (1e-4, 0.1), Precision.F16: (1e-5, 2e-2)}
"""Relative error that a precision must show on the probe, and may show at most."""


def devices_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The devices that a provider offers: asked from ONNX Runtime for a plugin, to be tried for a built-in one."""
    if request["registration"] == "builtin":
        return [
            {"device": device, "ordinal": 0, "version": ort.__version__, "vendor": ""} for device in request["devices"]
        ]
    plugins.register(request["provider"], request["library"])
    found: list[dict[str, Any]] = []
    for item in plugins.devices(request["provider"]):
        kind = plugins.device_kind(item)
        ordinal = sum(other["device"] == kind for other in found)
        version = str(item.ep_metadata.get("version", ""))
        found.append({"device": kind, "ordinal": ordinal, "version": version, "vendor": item.device.vendor})
    return found


def works(precision: Precision, output: np.ndarray, reference: np.ndarray, others: list[np.ndarray]) -> bool:
    """Whether a precision is real, by effect: its own rounding, and not another's numbers under a new name."""
    if not np.isfinite(output).all():
        return False
    error = float(np.sqrt(np.mean((output - reference) ** 2) / np.mean(reference**2)))
    least, most = ROUNDING[precision]
    return least <= error <= most and not any(np.array_equal(output, other) for other in others)


def _output(request: dict[str, Any], device: dict[str, Any], precision: Precision) -> np.ndarray:
    processor = Processor(
        name="probe",
        provider=request["provider"],
        device=device["device"],
        version="",
        registration=request["registration"],
        library=request["library"],
        ordinal=device["ordinal"],
    )
    spec = session_options(Lane(processor="probe", precision=precision), processor)
    return np.asarray(create_session(probe_model(), spec).run(None, {INPUT: probe_input()})[0])


def _precisions(request: dict[str, Any], device: dict[str, Any], reference: np.ndarray) -> list[str]:
    found: dict[str, np.ndarray] = {}
    for precision in SELECTABLE.get(request["provider"], (Precision.F32,)):
        try:
            output = _output(request, device, precision)
        except Exception as error:
            if precision.is_reference:
                raise
            print(f"{precision}: {error}", file=sys.stderr)
            continue
        if works(precision, output, reference, list(found.values())):
            found[str(precision)] = output
    return list(found)


def main() -> None:
    """Answers one request."""
    request = json.loads(sys.argv[1])
    session = ort.InferenceSession(probe_model(), providers=["CPUExecutionProvider"])
    reference = np.asarray(session.run(None, {INPUT: probe_input()})[0])
    answers = []
    for device in devices_of(request):
        try:
            answers.append(device | {"precisions": _precisions(request, device, reference), "error": ""})
        except Exception as error:  # noqa: BLE001 - whatever the provider raises is the answer
            answers.append(device | {"precisions": [], "error": " ".join(str(error).split())[:300]})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
