"""Ctrl-C or SIGTERM while a search goes on: it ends the measuring, never the writing of what was found."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_PLAIN: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""Signals that end a search, and their handlers where a program has none of its own."""


class Interrupts:
    """Ctrl-C, or SIGTERM, while this context is open: the first raises while something is measured, later ones wait.

    From the first on, or from `hold` on, the plan is written: one more is held back, so that an impatient second press
    does not cost what was found; the one after that raises. Where the program has a handler of its own, or outside the
    main thread, nothing is changed.
    """

    def __init__(self) -> None:
        self._holding = False
        self._held = False
        self._installed: list[signal.Signals] = []
        self.pressed = False
        """Whether there was any: its user waits."""

    def hold(self) -> None:
        """From now on the next one is held back."""
        self._holding = True

    def release(self) -> None:
        """From now on the next one raises."""
        self._holding = False

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.pressed = True
        if self._holding and not self._held:
            self._held = True
            return
        self._holding = True
        raise KeyboardInterrupt

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._installed = [number for number, plain in _PLAIN.items() if signal.getsignal(number) is plain]
        for number in self._installed:
            signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._installed:
            signal.signal(number, _PLAIN[number])
        self._installed = []
