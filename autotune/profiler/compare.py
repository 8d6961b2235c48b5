"""Compares outputs with the reference, per output and per part of an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autotune.core import OutputError
from autotune.errors import BadReferenceError
from autotune.graph import OutputPart

Array = np.ndarray[Any, Any]
NO_SIGNAL_RMS = 1e-6
BROKEN = 1e6
"""Relative error of outputs that hold NaN or infinity where the reference does not."""
DIFFERENT_SHAPE = 1.0


def compare(
    reference: Sequence[Sequence[Array]],
    found: Sequence[Sequence[Array]],
    outputs: Sequence[str],
    parts: Sequence[OutputPart],
) -> OutputError:
    """The worst error over samples and parts.

    Floats are compared by RMS(difference) / RMS(reference) and the worst absolute difference, anything else by the
    share
    that differs. Parts whose reference is nearly zero or constant in every sample are no signal and not compared.

    Args:
        reference: [sample][output].
        found: [sample][output].
        outputs: their names.
        parts: of the outputs.

    Raises:
        BadReferenceError: the reference holds NaN or infinity.
    """
    worst, worst_part, largest = 0.0, "", 0.0
    signal: set[str] = set()
    for wanted, got in zip(reference, found, strict=True):
        for part, left, right in _pairs(wanted, got, outputs, parts):
            if not _has_signal(part, left):
                continue
            signal.add(part.name)
            error, absolute = _error(left, right)
            largest = max(largest, absolute)
            if error > worst or not worst_part:
                worst, worst_part = error, part.name
    silent = tuple(part.name for part in parts if part.name not in signal)
    return OutputError(relative_rms=worst, max_abs=largest, worst_output=worst_part, no_signal=silent)


def squared_errors(
    reference: Sequence[Sequence[Array]],
    found: Sequence[Sequence[Array]],
    outputs: Sequence[str],
    parts: Sequence[OutputPart],
) -> dict[str, float]:
    """Squared relative error by part, the worst over samples; 0 where there is no signal."""
    worst = {part.name: 0.0 for part in parts}
    for wanted, got in zip(reference, found, strict=True):
        for part, left, right in _pairs(wanted, got, outputs, parts):
            if _has_signal(part, left):
                worst[part.name] = max(worst[part.name], _error(left, right)[0] ** 2)
    return worst


def _pairs(
    wanted: Sequence[Array], got: Sequence[Array], outputs: Sequence[str], parts: Sequence[OutputPart]
) -> list[tuple[OutputPart, Array, Array]]:
    pairs = []
    for part in parts:
        at = outputs.index(part.output)
        left, right = np.asarray(wanted[at]), np.asarray(got[at])
        if part.axis >= 0 and left.shape == right.shape:
            span = (slice(None),) * part.axis + (slice(part.start, part.stop),)
            left, right = left[span], right[span]
        pairs.append((part, left, right))
    return pairs


def _is_float(array: Array) -> bool:
    return array.dtype.kind in "fc" or array.dtype.name in ("bfloat16", "float8_e4m3fn")


def _has_signal(part: OutputPart, array: Array) -> bool:
    if not _is_float(array) or not array.size:
        return True
    wide = _wide(array)
    if not np.isfinite(wide).all():
        raise BadReferenceError(f"the reference output {part.name!r} holds NaN or infinity: give other inputs")
    if float(np.sqrt(np.mean(np.abs(wide) ** 2))) < NO_SIGNAL_RMS:
        return False
    return wide.size == 1 or bool((wide != wide.flat[0]).any())


def _wide(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _error(left: Array, right: Array) -> tuple[float, float]:
    """Relative error and worst absolute difference."""
    if left.shape != right.shape:
        return DIFFERENT_SHAPE, 0.0
    if not left.size:
        return 0.0, 0.0
    if not _is_float(left):
        return float(np.mean(left != right)), 0.0
    wide, other = _wide(left), _wide(right)
    if not np.isfinite(other).all():
        return BROKEN, BROKEN
    gap = np.abs(other - wide)
    return float(np.sqrt(np.mean(gap**2) / np.mean(np.abs(wide) ** 2))), float(gap.max())
