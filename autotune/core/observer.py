"""How a long piece of work reports what it does; an observer can never stop it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Observer(Protocol):
    """Is told of the work as it goes on.

    Implementations must not raise; callers guard them all the same.
    """

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
        """`done` of `total` steps of `phase` (`profile`, `train`, `search`, `verify`) are done; total 0: unknown."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Something worth keeping happened, for instance `round`, `baseline`, `candidate`, `predictor`, `warning`."""


class SilentObserver:
    """Ignores everything."""

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
        """Ignored."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Ignored."""
