"""Versions of the predictors of this home folder, and which one is in use.

<home>/predictors/v0001/card.json …     one folder per version, never changed
<home>/predictors/champion-<device>     a file with the version in use on that device
<home>/predictors/history-<device>      versions that were in use on it, one a line, oldest first; a version that is put
                                        in use again takes the place it had, and those after it are forgotten
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from autotune.core import Device
from autotune.errors import PredictorError, StoreError
from autotune.predictor.kernel_predictor import KernelPredictor
from autotune.predictor.storage import load, read_card, save


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The predictor in use: its version (`v0003`), itself, and its card."""

    version: str
    predictor: KernelPredictor
    card: Mapping[str, Any]


def folder_of(home: str | Path, version: str = "") -> Path:
    """Where versions lie, or one of them."""
    return Path(home) / "predictors" / version


def versions(home: str | Path) -> tuple[str, ...]:
    """All versions, oldest first."""
    place = folder_of(home)
    if not place.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in place.iterdir() if re.fullmatch(r"v\d{4,}", entry.name)))


def register(
    predictor: KernelPredictor,
    home: str | Path,
    *,
    accuracy: Mapping[str, Any] | None = None,
    champion: bool = True,
) -> str:
    """Save a predictor as the next version; with `champion` it is the one in use from now on. Returns the version.

    Raises:
        PredictorError: it is not fitted, or the folder cannot be written.
    """
    from filelock import FileLock

    place = folder_of(home)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PredictorError(f"{place} cannot be written ({error}): set AUTOTUNE_HOME to another folder.") from error
    with FileLock(place / ".lock"):
        taken = versions(home)
        version = f"v{int(taken[-1][1:]) + 1 if taken else 1:04d}"
        save(predictor, place / version, accuracy=accuracy)
        if champion:
            promote(version, home)
    return version


def promote(version: str, home: str | Path) -> None:
    """Put a registered version in use on its device.

    Raises:
        PredictorError: there is no such version, or it is damaged.
        StoreError: the alias or the history cannot be written.
    """
    device = read_card(folder_of(home, version))["device"]
    used = [*used_before(home, device), champion_version(home, device)]
    now = [*takewhile(lambda one: one != version, filter(None, used)), version]
    _write(_history(home, device), "\n".join(now))  # first: it holds whichever version the alias names
    _write(_alias(home, device), version)


def used_before(home: str | Path, device: str) -> tuple[str, ...]:
    """Versions that were in use on a device before the one that is now, oldest first.

    Homes of earlier versions of autotune kept no history: there all that were registered before may have been in use.
    """
    now = champion_version(home, device)
    try:
        known = _history(home, device).read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        known = [one for one in takewhile(lambda one: one != now, versions(home)) if _is_of(home, one, device)]
    return tuple(takewhile(lambda one: one != now, known))


def champion_version(home: str | Path, device: str) -> str:
    """The version in use on a device; empty where there is none."""
    try:
        return _alias(home, device).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def load_champion(home: str | Path, device: Device | str) -> Champion | None:
    """The predictor in use on a device; None where there is none, or none that this version can read.

    A predictor only saves time: one that is damaged or older than the code is as good as none, and the next
    `retrain` replaces it. `champion_problem` says why it can't be read.
    """
    try:
        return _read_champion(home, device)
    except (OSError, ValueError, PredictorError):
        return None


def champion_problem(home: str | Path, device: Device | str) -> str:
    """Why the predictor in use on a device can't be read, and what to do; empty where it can or there is none."""
    try:
        _read_champion(home, device)
    except (OSError, ValueError, PredictorError) as error:
        return str(error)
    return ""


def _read_champion(home: str | Path, device: Device | str) -> Champion | None:
    wanted = device.id if isinstance(device, Device) else device
    version = champion_version(home, wanted)
    if not version:
        return None
    folder = folder_of(home, version)
    return Champion(version=version, predictor=load(folder, device=wanted), card=read_card(folder))


def _alias(home: str | Path, device: str) -> Path:
    return folder_of(home) / f"champion-{device}"


def _history(home: str | Path, device: str) -> Path:
    return folder_of(home) / f"history-{device}"


def _is_of(home: str | Path, version: str, device: str) -> bool:
    try:
        return bool(read_card(folder_of(home, version))["device"] == device)
    except PredictorError:
        return False


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}): free space or set AUTOTUNE_HOME.") from error
