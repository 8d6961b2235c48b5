"""Measurements of all hours at one speed of the machine, that of its fastest, and what stages cost by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from autotune.api.screening import without_drift
from autotune.core import Lane, Measurement, ProfileRecord, Signatures, StageRecord
from autotune.planning.costs import Floats
from autotune.predictor import StagePredictor

R = TypeVar("R", ProfileRecord, StageRecord)


def newest(records: Iterable[R]) -> list[R]:
    """Of each lane what was measured as its last record was: a provider that was upgraded since is another one."""
    ordered = sorted(records, key=lambda record: record.notes.time)
    last = {(record.lane, record.identity.protocol): record.identity for record in ordered}
    return [record for record in ordered if record.identity == last[record.lane, record.identity.protocol]]


def fastest_sentinels(records: Iterable[ProfileRecord]) -> dict[Lane, float]:
    """What the sentinel of each lane took at its fastest, in µs, over all records of a device."""
    found: dict[Lane, float] = {}
    for record in records:
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


def stage_predictor(
    stages: Iterable[StageRecord], known_us: Mapping[tuple[str, Lane], float], speeds_us: Mapping[Lane, float]
) -> StagePredictor:
    """Entry and exit costs, fitted on stages that were measured on this device.

    Args:
        stages: as they were measured.
        known_us: what their kernels cost, by `medians_us` of even records.
        speeds_us: by `fastest_sentinels`.
    """

    def kernel_us(stage: Sequence[str], lane: Lane) -> Floats:
        return np.array([known_us.get((signature, lane), np.nan) for signature in stage])

    return StagePredictor.fit(even(stages, speeds_us), kernel_us)
