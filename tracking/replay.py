"""Logs the searches that MLflow did not take when they happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from autotune.errors import AutotuneError
from autotune.tracking.destination import Destination, connect, destination_of, is_unreachable, one_line, unusable
from autotune.tracking.spool import Spool, owned, read_spool, spool_folder
from autotune.tracking.writer import RunWriter

logger = logging.getLogger(__name__)


def replay_spool(home: Path, *, warn: Callable[[str], None] = logger.warning) -> int:
    """Logs every search that is still in the spool and that no living process works on.

    Returns:
        How many were logged. Nothing is raised: what cannot be logged now stays, and `warn` is told why.
    """
    paths = sorted(spool_folder(home).glob("*.jsonl"))
    if not paths:
        return 0
    destination = destination_of(home)
    logged = 0
    for path in paths:
        try:
            with owned(path) as mine:
                logged += mine and path.exists() and _replay(path, destination, warn)
        except AutotuneError as error:
            warn(str(error))
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises must not stop a search
            warn(unusable(destination, error))
            break
    return logged


def _replay(path: Path, destination: Destination, warn: Callable[[str], None]) -> bool:
    content = read_spool(path)
    spool = Spool(path)
    spool.mend()
    writer = RunWriter(connect(destination), destination, run_id=content.run_id)
    for at, event in enumerate(content.events):
        if at < content.delivered:
            writer.remember(event)
            continue
        try:
            writer.write(event)
        except Exception as error:
            if is_unreachable(error) or not writer.run_id:
                raise
            warn(f"the event {event.name!r} was left out: {one_line(error)}")
        spool.mark(at + 1, writer.run_id)
    if content.events:
        writer.end("KILLED", time_ms=content.events[-1].time_ms)
    spool.remove()
    return True
