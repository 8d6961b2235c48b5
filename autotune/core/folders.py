"""Folders written as a whole: what was there before stays until the new one is complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A draft beside a folder to write into; at the end it takes the folder's place, unless something failed.

    Args:
        folder: where; folders around it are made.

    Raises:
        OSError: it cannot be written; what was there before is there again.
    """
    draft = draft_beside(folder)
    try:
        yield draft
        draft.chmod(0o755)
        _put_in_place(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def draft_beside(folder: Path) -> Path:
    """A new hidden folder beside another, which need not exist.

    Raises:
        OSError: the folder around it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))


def _put_in_place(draft: Path, folder: Path) -> None:
    if not folder.exists():
        draft.rename(folder)
        return
    aside = draft_beside(folder)
    old = aside / "old"
    try:
        folder.rename(old)
        draft.rename(folder)
    except BaseException:  # a further Ctrl-C too
        if not folder.exists():
            old.rename(folder)
        raise
    finally:
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
