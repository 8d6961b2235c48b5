"""The predictor of a device, with the help of other devices whose records were imported."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from autotune.core import Device, Lane, Measurement, ProfileRecord, Signatures
from autotune.datasets import Store
from autotune.errors import PredictorError
from autotune.predictor import Groups, KernelPredictor
from autotune.predictor.adapted import ENOUGH, Adapted
from autotune.predictor.boosted import BoostedTrees
from autotune.predictor.learner import Learner, forgetting

MOST_DEVICES = 4
MOST_RECORDS = 20_000
"""Of a known device: reading and learning more takes longer than measuring what it would save."""
JUDGED_RECORDS = 1_000
"""Of a lane of a known device, drawn, where it learns once more for every model left out."""


def records_for(store: Store, device: Device) -> list[ProfileRecord]:
    """The device's records and, while any of its lanes has few, those of known devices (most records first)."""
    own = store.kernels(device=device.id)
    by_lane = Counter(lane for lane, _ in {(record.lane, id(record.kernel)) for record in own})
    return [*records_of_others(store, device, by_lane), *own]


def records_of_others(store: Store, device: Device, by_lane: Mapping[Lane, int]) -> list[ProfileRecord]:
    """Records of known devices, of those with the most; none once every lane of this device has enough kernels."""
    if by_lane and min(by_lane.values()) >= ENOUGH:
        return []
    others = [name for name, count in store.devices().items() if name != device.id and count <= MOST_RECORDS]
    return [record for name in others[:MOST_DEVICES] for record in store.kernels(device=name)]


def device_predictor(
    records: Sequence[ProfileRecord],
    device: Device,
    groups: Groups | None = None,
    *,
    seed: int = 0,
    calibrate: bool = True,
) -> KernelPredictor:
    """Learn from the device's records; lanes with few of them learn from other devices too where that is better.

    What a lane took under an earlier version of its runtime or provider is that of another device: it forgets the
    models left out as all of them do, which a predictor that learnt it could not.

    Args:
        records: of this device and any others.
        device: whose predictor it shall be.
        groups: model name -> signatures.
        seed: of learning.
        calibrate: intervals from models left out.

    Raises:
        PredictorError: too few records of this device.
    """
    own = [record for record in records if record.identity.device == device.id]
    others = [record for record in records if record.identity.device != device.id]
    learner = learner_with([*others, *_earlier(own)], seed=seed)
    return KernelPredictor(device=device, seed=seed, learner=learner).fit(own, groups, calibrate=calibrate)


def _earlier(own: Sequence[ProfileRecord]) -> list[ProfileRecord]:
    """Records of lanes as they were: made under another identity than the last one, under which few were made since."""
    measured = sorted((one for one in own if isinstance(one.result, Measurement)), key=lambda one: one.notes.time)
    now = {one.lane: one.identity for one in measured}
    since = Counter(one.lane for one in measured if one.identity == now[one.lane])
    return [one for one in measured if one.identity != now[one.lane] and since[one.lane] < ENOUGH]


def learner_with(others: Sequence[ProfileRecord], *, inner: Learner | None = None, seed: int = 0) -> Adapted | None:
    """What learns with the help of other devices; None where none of them has records enough.

    Args:
        others: records of any other devices.
        inner: what learns, here and of the other devices; gradient-boosted trees unless given.
        seed: of learning.
    """
    chosen = inner or BoostedTrees()
    by_device: dict[str, list[ProfileRecord]] = {}
    for record in others:
        by_device.setdefault(record.identity.device, []).append(record)
    signatures = Signatures()

    def teach(without: Collection[str], lane: Lane) -> tuple[KernelPredictor, ...]:
        found, unknowing = [], forgetting(chosen, without)
        for _, records in sorted(by_device.items()):
            rest = [one for one in _alike(records, lane) if signatures.of(one.kernel) not in without]
            found.append(_source(_some(rest, seed), unknowing, seed))
        return tuple(filter(None, found))

    learnt = (_source(records, chosen, seed) for _, records in sorted(by_device.items()))
    sources = tuple(filter(None, learnt))
    return Adapted(sources=sources, inner=chosen, teach=teach) if sources else None


def _alike(records: Sequence[ProfileRecord], lane: Lane) -> Sequence[ProfileRecord]:
    """Those of the lane; of a device that has none of it, those of its processor and precision, else all."""
    same = [record for record in records if record.lane == lane]
    return same or [one for one in records if one.lane.kind == lane.kind] or records


def _some(records: Sequence[ProfileRecord], seed: int) -> Sequence[ProfileRecord]:
    return records if len(records) <= JUDGED_RECORDS else random.Random(seed).sample(records, JUDGED_RECORDS)


def _source(records: Sequence[ProfileRecord], learner: Learner, seed: int) -> KernelPredictor | None:
    try:
        return KernelPredictor(seed=seed, learner=learner).fit(records, calibrate=False)
    except PredictorError:  # too few to be of help
        return None
