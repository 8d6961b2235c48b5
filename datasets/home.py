"""The home folder: where profile records, studies, predictors and caches live."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

from autotune.errors import StoreError


def home() -> Path:
    """The home folder, created where it is missing: `AUTOTUNE_HOME`, else the platform's folder for user data.

    Raises:
        StoreError: it cannot be created or written; the message names the path and the way out.
    """
    given = os.environ.get("AUTOTUNE_HOME", "")
    folder = Path(given).expanduser() if given else Path(platformdirs.user_data_dir("autotune", appauthor=False))
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"the home folder {folder} cannot be written ({error.strerror or error}): "
            "make it writable, or name another one with `export AUTOTUNE_HOME=/path/to/folder`."
        ) from error
    return folder
