"""Measurements of all hours at one speed of the machine, that of its fastest, and what stages cost by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from autotune.api.screening import without_drift
from autotune.core import Lane, Measurement, ProfileRecord, Signatures, StageRecord
from autotune.datasets import Store
from autotune.planning.costs import Floats
from autotune.predictor import StagePredictor

R = TypeVar("R", ProfileRecord, StageRecord)


def fastest_sentinels(store: Store, device: str) -> dict[Lane, float]:
    """What the sentinel of each lane took at its fastest, in µs, over all records of this device."""
    found: dict[Lane, float] = {}
    for record in store.kernels(device=device):
        if record.notes.sentinel_us > 0:
            found[record.lane] = min(record.notes.sentinel_us, found.get(record.lane, float("inf")))
    return found


def even(records: Iterable[R], speeds_us: Mapping[Lane, float]) -> list[R]:
    """Records as they would be at the speed that their lane has at its fastest (`fastest_sentinels`)."""
    faster = ((one, 1 / one.notes.slower_when(speeds_us.get(one.lane, 0.0))) for one in records)
    return [replace(one, result=without_drift(one.result, drift)) for one, drift in faster]


def medians_us(records: Iterable[ProfileRecord]) -> dict[tuple[str, Lane], float]:
    """What was measured, by signature and lane; of several records of a kernel the last counts, failures do not."""
    signatures = Signatures()
    return {
        (signatures.of(record.kernel), record.lane): record.result.median_us
        for record in records
        if isinstance(record.result, Measurement)
    }


def stage_predictor(store: Store, device: str, speeds_us: Mapping[Lane, float], *, without: str = "") -> StagePredictor:
    """Entry and exit costs, fitted on the stages that were measured on this device.

    Args:
        store: of its records.
        device: `Device.id`.
        speeds_us: by `fastest_sentinels`.
        without: hash of a model that shall teach nothing.
    """
    known = medians_us(even(store.kernels(device=device), speeds_us))

    def kernel_us(stage: Sequence[str], lane: Lane) -> Floats:
        return np.array([known.get((signature, lane), np.nan) for signature in stage])

    stages = even(store.stages(device=device), speeds_us)
    return StagePredictor.fit([record for record in stages if record.model_sha256 != without], kernel_us)
