"""Devices of imported public tables, whose predictors lie beside this machine's."""

from __future__ import annotations

from pathlib import Path

from autotune.core import Device
from autotune.datasets.public import read_card
from autotune.errors import UnknownNameError


def published_device(home: Path, name: str, device: str) -> Device:
    """A device of an imported public table; its cores are not known, lanes say their threads.

    Args:
        home: the home folder.
        name: of the table.
        device: its name there.

    Raises:
        InputError: the table was not imported.
        UnknownNameError: it has no such device.
    """
    listed = read_card(home, name).get("profile_records", {}).get("devices", [])
    known = {one["device"]: one["id"] for one in listed}
    if listed and device not in known:
        raise UnknownNameError(f"device of {name}", device, known=sorted(known))
    own = known.get(device, "")
    return Device(id=own, name=f"{device} ({name})", system="", machine="", cores=(0,), memory_bytes=0)
