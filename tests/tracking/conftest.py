"""What the tracking tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and no tracking server in the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home with space"


@pytest.fixture
def dead_server(monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracking server that refuses connections: nothing listens on the discard port."""
    address = "http://127.0.0.1:9"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address
