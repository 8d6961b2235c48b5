"""The predictor of a device, with the help of other devices whose records were imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from autotune.core import Device, ProfileRecord
from autotune.datasets import Store
from autotune.errors import PredictorError
from autotune.predictor import Groups, KernelPredictor
from autotune.predictor.adapted import ENOUGH, Adapted

MOST_DEVICES = 4
MOST_RECORDS = 20_000
"""Of a known device: reading and learning more takes longer than measuring what it would save."""


def records_for(store: Store, device: Device) -> list[ProfileRecord]:
    """The device's records and, while any of its lanes has few, those of known devices (most records first)."""
    own = store.kernels(device=device.id)
    by_lane = Counter(record.lane for record in own)
    if by_lane and min(by_lane.values()) >= ENOUGH:
        return own
    others = [name for name, count in store.devices().items() if name != device.id and count <= MOST_RECORDS]
    return [*(record for name in others[:MOST_DEVICES] for record in store.kernels(device=name)), *own]


def device_predictor(
    records: Sequence[ProfileRecord],
    device: Device,
    groups: Groups | None = None,
    *,
    seed: int = 0,
    calibrate: bool = True,
) -> KernelPredictor:
    """Learn from the device's records; lanes with few of them learn from other devices too where that is better.

    Args:
        records: of this device and any others.
        device: whose predictor it shall be.
        groups: model name -> signatures.
        seed: of learning.
        calibrate: intervals from models left out.

    Raises:
        PredictorError: too few records of this device.
    """
    by_device: dict[str, list[ProfileRecord]] = {device.id: []}
    for record in records:
        by_device.setdefault(record.identity.device, []).append(record)
    own = by_device.pop(device.id)
    sources = tuple(filter(None, (_source(others, seed) for _, others in sorted(by_device.items()))))
    learner = Adapted(sources=sources) if sources else None
    return KernelPredictor(device=device, seed=seed, learner=learner).fit(own, groups, calibrate=calibrate)


def _source(records: Sequence[ProfileRecord], seed: int) -> KernelPredictor | None:
    try:
        return KernelPredictor(seed=seed).fit(records, calibrate=False)
    except PredictorError:  # too few to be of help
        return None
