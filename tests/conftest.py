"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Test processes wait neither for each other nor for a search that goes on outside; no test asserts a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNE_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield
