"""From records by column to what can be learnt from: `training_set` for a million of them."""

from __future__ import annotations

import numpy as np

from autotune.core import FAMILIES, Device, fastest_sentinel_us
from autotune.datasets import ProfileColumns
from autotune.datasets.columns import Codes, segment_medians
from autotune.predictor.training import (
    LaneRecords,
    TrainingSet,
    calm_where_there_are,
    nothing_measured,
    one_device,
)


def training_columns(columns: ProfileColumns, device: Device | None = None) -> TrainingSet:
    """The same as `training_set(store.kernels(latest=False), device)` makes of the records one by one.

    Raises:
        PredictorError: records of another device than `device`, or none at all.
    """
    devices = one_device((columns.identities[at].device for at in np.unique(columns.identity)), device, "Store.columns")
    if not len(columns.kernel):
        raise nothing_measured(columns.failures)
    order = np.argsort(np.array(columns.signatures))
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    family = np.array([FAMILIES.index(kernel.family) for kernel in columns.kernels], dtype=np.intp)
    times = [note.time for note in columns.notes]
    parts, stale = [], 0
    for code in np.unique(columns.lane):
        own = np.flatnonzero(columns.lane == code)
        last = max(reversed(own.tolist()), key=lambda row: times[columns.note[row]])
        current = own[columns.identity[own] == columns.identity[last]]
        stale += len(own) - len(current)
        parts.append(_lane_records(columns, current, order, rank, family))
    return TrainingSet(
        device=devices[0],
        lanes=tuple(sorted(parts, key=lambda part: str(part.lane))),
        failures=columns.failures,
        stale=stale,
    )


def _lane_records(columns: ProfileColumns, rows: Codes, order: Codes, rank: Codes, family: Codes) -> LaneRecords:
    """The records in these rows, all of one lane and identity, by kernel in the order of signatures.

    As in `training_set`, times are brought to the speed at which the lane's sentinel takes its median.
    """
    codes, note = np.unique(columns.note[rows], return_inverse=True)
    notes = [columns.notes[code] for code in codes]
    fastest = fastest_sentinel_us(notes)
    disturbed = np.array([one.disturbed(fastest) for one in notes])[note]
    believed = calm_where_there_are(disturbed, columns.kernel[rows], family[columns.kernel[rows]])
    rows, note = rows[believed], note[believed]
    beside_us = np.array([one.sentinel_us for one in notes])[note]
    known = beside_us > 0
    usual_us = float(np.median(beside_us[known])) if known.any() else 0.0
    latency_us = columns.median_us[rows] * np.divide(usual_us, beside_us, out=np.ones(len(rows)), where=known)
    found, segments = np.unique(rank[columns.kernel[rows]], return_inverse=True)
    positions = order[found].tolist()
    by_kernel = np.argsort(segments, kind="stable")
    again = np.flatnonzero(np.diff(segments[by_kernel]) == 0)
    return LaneRecords(
        lane=columns.lanes[columns.lane[rows[0]]],
        identity=columns.identities[columns.identity[rows[0]]],
        kernels=tuple(columns.kernels[position] for position in positions),
        signatures=tuple(columns.signatures[position] for position in positions),
        latency_us=segment_medians(latency_us, segments, len(found)),
        repeated=segments[by_kernel[again]],
        repeats_us=latency_us[np.column_stack([by_kernel[again], by_kernel[again + 1]])],
        sentinel_us=usual_us,
    )
