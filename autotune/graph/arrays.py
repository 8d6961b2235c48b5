"""Named arrays as npz files, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autotune.core import STAND_INS
from autotune.errors import StoreError

Array = np.ndarray[Any, Any]


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes arrays by name; strings are stored as fixed-width text, types that NumPy lacks as the next wider one.

    Raises:
        StoreError: the file cannot be written.
    """
    plain = {name: array.astype(_stored(array.dtype), copy=False) for name, array in arrays.items()}
    try:
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **plain)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}): free some space, or write elsewhere") from error


def _stored(dtype: np.dtype[Any]) -> Any:
    return str if dtype.kind == "O" else STAND_INS.get(dtype.name, dtype)


def load_arrays(path: str | Path) -> dict[str, Array]:
    """Arrays of an npz file by name."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
