"""Ctrl-C while a search goes on: it ends the measuring, never the writing of what was found."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupts:
    """Ctrl-C for as long as this context is open: the first raises while something is measured, later ones wait.

    From the first on, or from `hold` on, the plan is written: one more is held back, so that an impatient second press
    does not cost what was found; the one after that raises. Where the program has a handler of its own, or outside the
    main thread, nothing is changed.
    """

    def __init__(self) -> None:
        self._holding = False
        self._held = False
        self._installed = False
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
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False
