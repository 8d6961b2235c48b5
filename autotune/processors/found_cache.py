"""Keeps what a discovery found: trying every provider costs seconds."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autotune.core.codec import decode, encode
from autotune.processors import plugins
from autotune.processors.device import this_device
from autotune.processors.found import Discovery

CACHE_VERSION = 4
BROKEN_AGE_S = 24 * 3600.0
"""What did not work is tried again after a day: its driver may have been mended meanwhile."""
DRIVER_SETTINGS = (
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
    "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER",
    "CUDA_VISIBLE_DEVICES",
)


def read_found(folder: Path | None, runtime: str, *, with_plugins: bool) -> Discovery | None:
    """What was found before under the same circumstances; None where nothing (usable) is kept."""
    if folder is None:
        return None
    path = _path(folder, runtime, with_plugins=with_plugins)
    try:
        found = decode(Discovery, json.loads(path.read_text(encoding="utf-8")))
        old = time.time() - path.stat().st_mtime > BROKEN_AGE_S
    except (OSError, ValueError, TypeError):
        return None
    gone = any(processor.library and not Path(processor.library).exists() for processor in found.processors)
    return None if gone or (found.broken and old) else replace(found, fresh=False)


def write_found(folder: Path | None, found: Discovery, *, with_plugins: bool) -> None:
    """A cache that cannot be written costs seconds, nothing else."""
    if folder is None:
        return
    path = _path(folder, found.runtime, with_plugins=with_plugins)
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(encode(found)), encoding="utf-8")
        draft.replace(path)
    except OSError:
        return


def _path(folder: Path, runtime: str, *, with_plugins: bool) -> Path:
    facts = [f"v{CACHE_VERSION}", this_device().id, runtime, sys.executable]
    facts += [f"{name}={os.environ.get(name, '')}" for name in DRIVER_SETTINGS]
    for plugin in plugins.installed() if with_plugins else ():
        try:
            facts.append(f"{plugin.package} {version(plugin.package)}")
        except PackageNotFoundError:
            facts.append(plugin.package)
    key = hashlib.sha256("|".join(facts).encode()).hexdigest()[:16]
    return folder / f"processors-{key}.json"
