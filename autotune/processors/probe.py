"""Run as a program: what one provider can do here, as JSON on the last line of stdout.

A provider that crashes takes only this process with it. Argument: a JSON object with `provider`, `library` (empty for a
built-in provider) and `devices` (for a built-in one).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import onnxruntime as ort

from autotune.core import Lane, Precision, Processor, one_line
from autotune.processors import plugins
from autotune.processors.options import selectable_precisions, session_options
from autotune.processors.probe_model import INPUT, probe_input, probe_model
from autotune.processors.sessions import create_session

ROUNDING = {Precision.F32: (0.0, 1e-4), Precision.BF16: (1e-4, 0.1), Precision.F16: (1e-5, 2e-2)}
"""Relative error that a precision must show on the probe, and may show at most."""


def devices_of(request: dict[str, Any]) -> list[Processor]:
    """The devices that a provider offers: asked from ONNX Runtime for a plugin, to be tried for a built-in one."""
    provider = request["provider"]
    if not request["library"]:
        return [
            Processor(name="probe", provider=provider, device=device, version=ort.__version__)
            for device in request["devices"]
        ]
    plugins.register(provider, request["library"])
    found: list[Processor] = []
    for item in plugins.devices(provider):
        kind = plugins.device_kind(item)
        found.append(
            Processor(
                name="probe",
                provider=provider,
                device=kind,
                version=str(item.ep_metadata.get("version", "")),
                vendor=item.device.vendor,
                registration="plugin",
                library=request["library"],
                ordinal=sum(other.device == kind for other in found),
            )
        )
    return found


def relative_rms(output: np.ndarray, reference: np.ndarray) -> float:
    """Error of an output; infinity where it holds something that is no number."""
    if output.shape != reference.shape or not np.isfinite(output).all():
        return float("inf")
    return float(np.sqrt(np.mean((output - reference) ** 2) / np.mean(reference**2)))


def works(precision: Precision, output: np.ndarray, reference: np.ndarray, others: list[np.ndarray]) -> bool:
    """Whether a precision is real, by effect: its own rounding, and not another's numbers under a new name."""
    least, most = ROUNDING[precision]
    error = relative_rms(output, reference)
    return least <= error <= most and not any(np.array_equal(output, other) for other in others)


def precisions_of(processor: Processor, reference: np.ndarray) -> tuple[list[str], str]:
    """The precisions that work on a device, and why if none does."""
    found: dict[str, np.ndarray] = {}
    why = ""
    choices = selectable_precisions(processor.provider)
    for precision in choices or (Precision.F32,):
        try:
            spec = session_options(Lane(processor="probe", precision=precision), processor)
            output = np.asarray(create_session(probe_model(), spec).run(None, {INPUT: probe_input()})[0])
        except Exception as error:  # noqa: BLE001 - whatever the provider raises is the answer
            why = why or one_line(error)
            continue
        # a provider without a setting is named after what it does
        candidates = (precision,) if choices else (Precision.F32, Precision.F16)
        name = next((one for one in candidates if works(one, output, reference, list(found.values()))), None)
        if name is not None:
            found[str(name)] = output
        elif precision.is_reference:
            error_seen = relative_rms(output, reference)
            why = f"asked for {precision}, gives outputs with a relative error of {error_seen:.2g}"
    return list(found), why


def main() -> None:
    """Answers one request."""
    request = json.loads(sys.argv[1])
    session = ort.InferenceSession(probe_model(), providers=["CPUExecutionProvider"])
    reference = np.asarray(session.run(None, {INPUT: probe_input()})[0])
    answers = []
    for processor in devices_of(request):
        precisions, why = precisions_of(processor, reference)
        answers.append(
            {
                "device": processor.device,
                "ordinal": processor.ordinal,
                "version": processor.version,
                "vendor": processor.vendor,
                "precisions": precisions,
                "error": "" if precisions else why,
            }
        )
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
