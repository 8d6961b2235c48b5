"""What every search opens at its start and closes at its end: Ctrl-C, home folder, MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autotune.api.clock import Budget
from autotune.api.interrupts import Interrupts
from autotune.api.settings import PrecisionPolicy, SearchSettings, front_folder
from autotune.api.workplace import Guarded, Workplace, open_workplace
from autotune.core import Observer, SilentObserver
from autotune.runtime import check_target

if TYPE_CHECKING:
    from autotune.tracking import MlflowObserver

RUN_ID_WAIT_S = 20.0
"""MLflow takes seconds to load; nothing is measured any more when it is asked."""
CLOSE_WAIT_S = 15.0
HURRIED_WAIT_S = 5.0
"""The same where the user pressed Ctrl-C: what MLflow has not taken by then is logged by the next search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a search works in.

    Args:
        interrupts: what Ctrl-C means now.
        place: home folder, device and processors.
        observer: the caller's and MLflow's.
        tracker: what follows the search in MLflow; None where it shall not be tracked.
    """

    interrupts: Interrupts
    place: Workplace
    observer: Guarded
    tracker: MlflowObserver | None

    def run_id(self) -> str | None:
        """The run's id in MLflow, unless Ctrl-C says not to wait for it: the plan is written, nothing can be lost."""
        if self.tracker is None:
            return None
        self.observer.progress("track", 0, 0, text="MLflow")
        try:
            self.interrupts.release()
            return self.tracker.run_id(wait_s=HURRIED_WAIT_S if self.interrupts.pressed else RUN_ID_WAIT_S)
        except KeyboardInterrupt:
            return None
        finally:
            self.interrupts.hold()


@contextmanager
def open_search(settings: SearchSettings, budget: Budget, observer: Observer | None) -> Iterator[Opened]:
    """Opens it all; at the end MLflow gets the rest.

    Raises:
        PlanError: the folder for the plan holds something else.
        StoreError: it, or the home folder, cannot be written.
        MissingProcessorError: a processor was asked for that is not here.
    """
    if settings.output is not None:
        check_target(settings.output)
        if settings.objectives:
            check_target(front_folder(settings.output) / "2")
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        with budget.phase("processors"):
            place = stack.enter_context(open_workplace(settings.home, settings.processors))
            place = place.at_float32() if settings.precision is PrecisionPolicy.FLOAT32 else place
        tracker = None
        if settings.track:
            tracker = _tracker(stack, place, interrupts)
        observers = Guarded(observer or SilentObserver(), *([tracker] if tracker is not None else []))
        yield Opened(interrupts=interrupts, place=place, observer=observers, tracker=tracker)


def _tracker(stack: ExitStack, place: Workplace, interrupts: Interrupts) -> MlflowObserver:
    from autotune.tracking import MlflowObserver

    tracker = MlflowObserver(place.home)
    stack.callback(lambda: tracker.close(timeout_s=HURRIED_WAIT_S if interrupts.pressed else CLOSE_WAIT_S))
    return tracker
