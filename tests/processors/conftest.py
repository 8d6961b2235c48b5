"""A tiny model, and processors that need not exist here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autotune.core import Precision, Processor
from autotune.processors import discover, discovery
from autotune.processors.probe_model import probe_model


@pytest.fixture(scope="session")
def model() -> bytes:
    return probe_model()


@pytest.fixture
def model_file(model: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "chain.onnx"
    path.write_bytes(model)
    return path


@pytest.fixture
def openvino() -> Processor:
    """The OpenVINO CPU processor of this environment; skips where there is none."""
    for processor in discover().processors:
        if processor.name == "openvino:cpu":
            return processor
    pytest.skip("no OpenVINO CPU device here")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discovery as in a fresh process."""
    monkeypatch.setattr(discovery, "_found", {})


@pytest.fixture
def processor() -> Callable[..., Processor]:
    """Makes a processor of a provider."""

    def make(provider: str, *, device: str = "cpu", library: str = "") -> Processor:
        return Processor(
            name=f"some:{device}",
            provider=provider,
            device=device,
            version="1",
            registration="plugin" if library else "builtin",
            library=library,
            precisions=tuple(Precision),
        )

    return make
