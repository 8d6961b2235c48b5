"""Progress of long work on stderr: bars on a terminal, one line per phase elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column


class ProgressBars:
    """An observer that draws one bar per phase.

    Args:
        progress: rich's progress display, already started.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
        """Moves the bar of a phase; a new phase ends the ones before."""
        if phase not in self._tasks:
            for task in self._tasks.values():
                self._progress.update(task, total=1, completed=1)
            self._tasks[phase] = self._progress.add_task(phase, total=total or None, text=text)
        self._progress.update(self._tasks[phase], completed=done, total=total or None, text=text)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Notes appear above the bars."""
        if name == "note":
            self._progress.console.print(str(fields.get("text", "")), markup=False, highlight=False)


class ProgressLines:
    """An observer for output that is no terminal: one line when a phase starts."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:  # noqa: ARG002
        """A line for each new phase."""
        if phase not in self._seen:
            self._seen.add(phase)
            print(f"{phase}: {text}" if text else phase, file=sys.stderr, flush=True)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Notes only."""
        if name == "note":
            print(fields.get("text", ""), file=sys.stderr, flush=True)


def bar_columns() -> tuple[ProgressColumn, ...]:
    """The text comes last and is cut where the terminal ends: a bar of two characters says nothing."""
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return (
        SpinnerColumn(),
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False, table_column=rest),
    )


@contextmanager
def show_progress() -> Iterator[ProgressBars | ProgressLines]:
    """An observer for as long as the work goes on."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines()
        return
    with Progress(*bar_columns(), console=console, transient=True, expand=True) as progress:
        yield ProgressBars(progress)
