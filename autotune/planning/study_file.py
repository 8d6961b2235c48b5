"""The journal file of a study, made fit to be opened again after its process was killed."""

from __future__ import annotations

import json
from pathlib import Path


def mend(journal: Path) -> None:
    """Cuts a journal at its first line that is not whole, and removes the lock that a killed process left.

    Optuna raises on such a line, and waits half a minute for such a lock. To be called only by who may write the file:
    here whoever holds the device.

    Args:
        journal: one JSON object a line; may be missing.
    """
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    whole = 0
    with journal.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n") or not _is_json(line):
                break
            whole += len(line)
    if whole < journal.stat().st_size:
        with journal.open("r+b") as file:
            file.truncate(whole)


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:  # of bytes that are no text, too
        return False
