"""Which operators a provider really takes: asked from ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from autotune.core import Lane
from autotune.errors import SessionError
from autotune.processors.options import session_options
from autotune.processors.sessions import create_session


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderShare:
    """How many operators of a model a provider took; ONNX Runtime counts them after its own graph optimizations."""

    provider: str
    operators: int


def assignment(model: str | Path | bytes, lane: Lane) -> tuple[ProviderShare, ...]:
    """Operators by provider, the lane's own first.

    Raises:
        SessionError: the lane cannot run the model at all.
    """
    spec = session_options(lane)
    recording = replace(spec, config=(*spec.config, ("session.record_ep_graph_assignment_info", "1")))
    session = create_session(model, recording)
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[str(part.ep_name)] += len(part.get_nodes())
    names = sorted(counts, key=lambda name: (name != spec.provider, name))
    return tuple(ProviderShare(provider=name, operators=counts[name]) for name in names)


def supports(model: str | Path | bytes, lane: Lane) -> bool:
    """Whether the lane's provider takes every operator itself."""
    try:
        shares = assignment(model, lane)
    except SessionError:
        return False
    own = session_options(lane).provider
    return all(share.provider == own for share in shares)
