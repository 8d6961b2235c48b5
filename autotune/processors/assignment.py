"""Which operators a provider really takes: asked from ONNX Runtime."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from autotune.core import Lane
from autotune.errors import SessionError
from autotune.processors.sessions import CPU_PROVIDER, create_session, session_options

_NUMPY = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16", "tensor(int64)": "int64",
    "tensor(int32)": "int32", "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(bool)": "bool",
    "tensor(int16)": "int16", "tensor(uint16)": "uint16", "tensor(uint32)": "uint32", "tensor(uint64)": "uint64",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderShare:
    """How many operators (or fused sub-graphs' operators) of a model a provider took."""

    provider: str
    operators: int


def assignment(model: str | Path, lane: Lane) -> tuple[ProviderShare, ...]:
    """Operators by provider, the lane's own first.

    Newer versions of ONNX Runtime say so; on older ones a profiled run shows it (a compiled sub-graph counts as one).

    Raises:
        SessionError: the lane cannot run the model at all.
    """
    spec = session_options(lane)
    if hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        counts = _recorded(model, lane)
    else:
        counts = _profiled(model, lane)
    own = [name for name in counts if name == spec.provider]
    others = sorted(name for name in counts if name != spec.provider)
    return tuple(ProviderShare(provider=name, operators=counts[name]) for name in (*own, *others))


def supports(model: str | Path, lane: Lane) -> bool:
    """Whether the lane's provider takes every operator itself."""
    try:
        shares = assignment(model, lane)
    except SessionError:
        return False
    return [share.provider for share in shares] == [session_options(lane).provider]


def _recorded(model: str | Path, lane: Lane) -> Counter[str]:
    from dataclasses import replace

    spec = session_options(lane)
    spec = replace(spec, config=(*spec.config, ("session.record_ep_graph_assignment_info", "1")))
    session = create_session(model, spec)
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[str(part.ep_name)] += len(part.get_nodes())
    return counts


def _profiled(model: str | Path, lane: Lane) -> Counter[str]:
    spec = session_options(lane)
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "assignment")
        try:
            providers: list[Any] = [(spec.provider, dict(spec.provider_options))]
            if spec.provider != CPU_PROVIDER:
                providers.append(CPU_PROVIDER)
            session = ort.InferenceSession(str(model), options, providers=providers)
            session.run(None, {item.name: _zeros(item) for item in session.get_inputs()})
            events = json.loads(Path(session.end_profiling()).read_text())
        except Exception as error:
            raise SessionError(f"{lane} cannot run {model}: {' '.join(str(error).split())[:300]}") from error
    nodes = {
        (event["name"].removesuffix("_kernel_time"), event["args"]["provider"])
        for event in events
        if event.get("cat") == "Node" and "provider" in event.get("args", {})
    }
    return Counter(provider for _, provider in nodes)


def _zeros(item: Any) -> np.ndarray[Any, Any]:
    shape = [dim if isinstance(dim, int) else 1 for dim in item.shape]
    return np.zeros(shape, dtype=_NUMPY.get(item.type, "float32"))
