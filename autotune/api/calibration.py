"""Fits a lane's kernel costs to the measured segments of the model in hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.graph import Cut
from autotune.planning.costs import Floats, LaneCost

FACTOR_RANGE = (0.1, 10.0)
CUT_LEVEL_RANGE = (0.3, 5.0)
"""What cuts cost in this model over what they cost in all that was measured: both sides of a cut always copy and change
layouts, so segments that took hardly more than the whole say that something disturbed the whole."""

CUT_LEVEL_TRUST = 0.5
"""How far that is believed (a power): it is a small difference of large times, and that of a handful of cuts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTimes:
    """Measured segments of one model on one lane under one setting.

    Args:
        spans: (start, stop) of each segment; together they cover the model.
        times_us: what each took alone; NaN where it failed.
        whole_us: what the whole model took as one session.
    """

    spans: tuple[tuple[int, int], ...]
    times_us: tuple[float, ...]
    whole_us: float


def calibrate(
    kernel_us: Floats,
    cost: LaneCost,
    segments: SegmentTimes | None,
    *,
    cuts: Sequence[Cut],
    model_bytes: tuple[int, int],
    overhead: float,
) -> tuple[Floats, LaneCost]:
    """Kernel costs and stage costs that agree with what the segments and the whole took.

    What all segments take beyond the whole is what the cuts cost: it sets the level of entry and exit. What then
    remains
    of each segment is shared out over its kernels in proportion to their own costs.

    Args:
        kernel_us: [K] marginal costs.
        cost: entry and exit before calibration.
        segments: what was measured; None leaves all as it is but for `overhead`.
        cuts: K + 1 cuts of the graph.
        model_bytes: bytes of the model's inputs and outputs.
        overhead: further factor on entry and exit, learned from verified plans.
    """
    if segments is None or not np.isfinite(segments.times_us).all():
        return kernel_us * cost.scale, _scaled(cost, overhead)
    level = _cut_level(cost, segments, cuts) * overhead
    fitted = _scaled(cost, level)
    result = np.where(np.isfinite(kernel_us), kernel_us * cost.scale, np.nan)
    last = len(cuts) - 1
    spent = 0.0
    for (start, stop), time_us in zip(segments.spans, segments.times_us, strict=True):
        bytes_in = model_bytes[0] if start == 0 else cuts[start].bytes
        bytes_out = model_bytes[1] if stop == last else cuts[stop].bytes
        inside = time_us - fitted.call_us - fitted.per_byte_in_us * bytes_in - fitted.per_byte_out_us * bytes_out
        total = float(np.nansum(result[start:stop]))
        factor = float(np.clip(inside / total, *FACTOR_RANGE)) if total > 0 else 1.0
        result[start:stop] *= factor
        spent += total * factor
    ends = fitted.call_us + fitted.per_byte_in_us * model_bytes[0] + fitted.per_byte_out_us * model_bytes[1]
    result *= float(np.clip((segments.whole_us - ends) / spent, *FACTOR_RANGE)) if spent > 0 else 1.0
    return np.where(np.isnan(result), np.inf, result), fitted


def _cut_level(cost: LaneCost, segments: SegmentTimes, cuts: Sequence[Cut]) -> float:
    """Factor on the stage costs that explains what the segments took beyond the whole."""
    inner = [start for start, _ in segments.spans[1:]]
    expected = sum(
        cost.call_us + (cost.per_byte_in_us + cost.per_byte_out_us) * cuts[position].bytes for position in inner
    )
    surplus = sum(segments.times_us) - segments.whole_us
    return float(np.clip(surplus / expected, *CUT_LEVEL_RANGE)) ** CUT_LEVEL_TRUST if expected > 0 else 1.0


def _scaled(cost: LaneCost, factor: float) -> LaneCost:
    return LaneCost(
        call_us=cost.call_us * factor,
        per_byte_in_us=cost.per_byte_in_us * factor,
        per_byte_out_us=cost.per_byte_out_us * factor,
    )
