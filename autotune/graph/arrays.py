"""Named arrays as npz files, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autotune.errors import StoreError

Array = np.ndarray[Any, Any]


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes arrays by name; strings are stored as fixed-width text.

    Raises:
        StoreError: the file cannot be written.
    """
    plain = {name: array.astype(str) if array.dtype == object else array for name, array in arrays.items()}
    try:
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **plain)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}): free some space") from error


def load_arrays(path: str | Path) -> dict[str, Array]:
    """Arrays of an npz file by name."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
