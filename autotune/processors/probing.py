"""Tries providers in processes of their own: one that crashes or hangs is reported and costs nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import autotune

PROBE_DEADLINE_S = 60.0
REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A provider to try.

    Args:
        short: its name in a processor's name.
        package: what a person would install or remove.
        provider: ONNX Runtime's name.
        library: the plugin's library, empty for a built-in provider.
        devices: kinds of device to try; a plugin lists its own.
    """

    short: str
    package: str
    provider: str
    library: str = ""
    devices: tuple[str, ...] = ()

    @property
    def registration(self) -> str:
        """`builtin` or `plugin`."""
        return "plugin" if self.library else "builtin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider does on one device.

    Args:
        device: `cpu`, `gpu` or `npu`.
        ordinal: which of several equal ones.
        version: the provider's.
        vendor: the hardware's.
        precisions: that work; none where the device cannot be used.
        error: why not.
    """

    device: str
    ordinal: int = 0
    version: str = ""
    vendor: str = ""
    precisions: tuple[str, ...] = ()
    error: str = ""


def ask(requests: list[Request]) -> list[list[Answer] | str]:
    """Answers to each request, or what went wrong with all of it."""
    if not requests:
        return []
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(_ask, requests))


def _ask(request: Request) -> list[Answer] | str:
    """All devices in one process; each in its own where one of them took the others with it."""
    answers = _probe(request, request.devices)
    if isinstance(answers, list) or len(request.devices) < 2:
        return answers
    found: list[Answer] = []
    for device in request.devices:
        alone = _probe(request, (device,))
        found += [Answer(device=device, error=alone)] if isinstance(alone, str) else alone
    return found


def _probe(request: Request, devices: tuple[str, ...]) -> list[Answer] | str:
    asked = {"provider": request.provider, "library": request.library, "devices": devices}
    command = [sys.executable, "-P", "-m", "autotune.processors.probe", json.dumps(asked)]
    place = str(Path(autotune.__file__).parent.parent)  # also where autotune is not installed
    paths = os.pathsep.join(filter(None, (place, os.environ.get("PYTHONPATH", ""))))
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_DEADLINE_S,
            check=False,
            env=os.environ | {"PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired:
        return f"hangs (no answer in {PROBE_DEADLINE_S:.0f} s)"
    except OSError as error:
        return f"cannot be tried: no process can be started ({error})"
    if done.returncode < 0:
        return f"crashes ({signal.Signals(-done.returncode).name} while it is tried)"
    return _parse(done)


def _parse(done: subprocess.CompletedProcess[str]) -> list[Answer] | str:
    lines = done.stdout.strip().splitlines()
    try:
        answers: list[dict[str, Any]] = json.loads(lines[-1])
        if done.returncode or not isinstance(answers, list):
            raise ValueError(answers)
        return [Answer(**answer | {"precisions": tuple(answer["precisions"])}) for answer in answers]
    except (ValueError, IndexError, TypeError, KeyError):
        errors = done.stderr.strip().splitlines()
        return errors[-1][:REASON_CHARACTERS] if errors else f"ends with exit code {done.returncode}"
