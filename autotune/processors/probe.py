"""Run as a program: what one provider can do here, as JSON on the last line of stdout.

A provider that crashes takes only this process with it. Arguments: a JSON object with `provider`, `registration`,
`library` and `devices` (for a built-in provider).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import onnxruntime as ort

RUNS = 5
CHANNELS, SIZE = 32, 24
PRECISIONS = ("f32", "bf16", "f16")
ROUNDING = {"bf16": (2e-4, 0.1), "f16": (1e-5, 2e-2)}
"""Relative error that a precision must show on the probe, and may show at most."""


def probe_model() -> bytes:
    """Six convolutions in a row."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for at in range(6):
        drawn = rng.standard_normal((CHANNELS, CHANNELS, 3, 3), dtype=np.float32) * (2 / (9 * CHANNELS)) ** 0.5
        weights.append(numpy_helper.from_array(drawn, f"w{at}"))
        nodes.append(helper.make_node("Conv", [f"t{at}", f"w{at}"], [f"c{at}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{at}"], [f"t{at + 1}"]))
    shape = [1, CHANNELS, SIZE, SIZE]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("t0", "t6")]
    graph = helper.make_graph(nodes, "probe", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _devices(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The devices that a provider offers: asked from ONNX Runtime for a plugin, to be tried for a built-in one."""
    if request["registration"] == "builtin":
        return [
            {"device": device, "ordinal": 0, "version": ort.__version__, "vendor": ""} for device in request["devices"]
        ]
    ort.register_execution_provider_library(request["provider"], request["library"])
    found: list[dict[str, Any]] = []
    for item in ort.get_ep_devices():
        if item.ep_name != request["provider"]:
            continue
        kind = str(item.device.type).rsplit(".", maxsplit=1)[-1].lower()
        ordinal = sum(other["device"] == kind for other in found)
        version = str(item.ep_metadata.get("version", ""))
        found.append({"device": kind, "ordinal": ordinal, "version": version, "vendor": item.device.vendor})
    return found


def _try(request: dict[str, Any], device: dict[str, Any], model: bytes, precision: str) -> dict[str, Any]:
    from autotune.core import Lane, Precision, Processor
    from autotune.processors.sessions import create_session, session_options

    processor = Processor(
        name="probe",
        provider=request["provider"],
        device=device["device"],
        version="",
        registration=request["registration"],
        library=request["library"],
        ordinal=device["ordinal"],
    )
    spec = session_options(Lane(processor="probe", precision=Precision(precision)), processor)
    session = create_session(model, spec)
    data = np.random.default_rng(1).standard_normal((1, CHANNELS, SIZE, SIZE), dtype=np.float32)
    output = session.run(None, {"t0": data})[0]
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        session.run(None, {"t0": data})
        times.append(time.perf_counter() - begin)
    return {"output": output, "seconds": min(times)}


def _precisions(request: dict[str, Any], device: dict[str, Any], model: bytes, reference: Any) -> list[str]:
    """Precisions that work, by effect: the right rounding, and not another precision's numbers under a new name."""
    works: dict[str, Any] = {}
    names = PRECISIONS if request["provider"] == "OpenVINOExecutionProvider" else PRECISIONS[:1]
    for name in names:
        try:
            output = _try(request, device, model, name)["output"]
        except Exception as error:
            if name == "f32":
                raise
            print(f"{name}: {error}", file=sys.stderr)
            continue
        error = float(np.sqrt(np.mean((output - reference) ** 2) / np.mean(reference**2)))
        least, most = ROUNDING.get(name, (0.0, 2e-2))
        if least <= error <= most and not any(np.array_equal(output, other) for other in works.values()):
            works[name] = output
    return list(works)


def main() -> None:
    """Answers one request."""
    request = json.loads(sys.argv[1])
    model = probe_model()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    data = np.random.default_rng(1).standard_normal((1, CHANNELS, SIZE, SIZE), dtype=np.float32)
    reference = session.run(None, {"t0": data})[0]
    answers = []
    for device in _devices(request):
        try:
            answers.append(device | {"precisions": _precisions(request, device, model, reference), "error": ""})
        except Exception as error:  # noqa: BLE001 - whatever the provider raises is the answer
            answers.append(device | {"precisions": [], "error": " ".join(str(error).split())[:300]})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
