"""Why a predictor says what it says of a kernel: roofline, features, and the measured kernels that are nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.core import Kernel, Lane, Measurement, ProfileRecord
from autotune.predictor.adapted import AdaptedLane
from autotune.predictor.boosted import BoostedLane
from autotune.predictor.features import NAMES, KernelRows
from autotune.predictor.kernel_predictor import KernelPredictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """How a feature moves a prediction: its name, the kernel's value (None: it is the lane's), the factor on time."""

    feature: str
    value: float | None
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A measured kernel that is near: what it is, how long it takes, and how far away it is in feature space."""

    kernel: str
    latency_us: float
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelExplanation:
    """One prediction taken apart.

    Args:
        roofline_us: what physics alone says of the lane; where other devices help, theirs, corrected for this one;
            None for learners that do not begin there.
        contributions: the features that move it furthest from there, the strongest first.
        neighbours: measured kernels of the same family on the same lane, the nearest first.
    """

    roofline_us: float | None
    contributions: tuple[Contribution, ...]
    neighbours: tuple[Neighbour, ...]


def explain_kernels(
    predictor: KernelPredictor,
    kernels: Sequence[Kernel],
    lane: Lane,
    records: Sequence[ProfileRecord],
    *,
    features: int = 5,
    neighbours: int = 3,
) -> list[KernelExplanation]:
    """Takes predictions of gradient-boosted trees apart, other devices' too; other learners give the neighbours only.

    Args:
        predictor: fitted.
        kernels: to explain.
        lane: where.
        records: measured kernels to look for neighbours in.
        features: how many contributions each.
        neighbours: how many each.
    """
    rows = KernelRows()
    own, inverse = rows.take(kernels)
    own = own[inverse]
    model = predictor.model_for(lane)
    if isinstance(model.regressor, BoostedLane | AdaptedLane):
        log_prior, parts = model.regressor.contributions(own, lane, predictor.cores)
    else:
        log_prior, parts = np.full(len(kernels), np.nan), np.zeros((len(kernels), len(NAMES)))
    near = _neighbours(rows, own, kernels, lane, records, neighbours)
    found = []
    for at in range(len(kernels)):
        strongest = np.argsort(-np.abs(parts[at]))[:features]
        found.append(
            KernelExplanation(
                roofline_us=float(np.exp(log_prior[at])) if np.isfinite(log_prior[at]) else None,
                contributions=tuple(
                    Contribution(
                        feature=NAMES[column],
                        value=float(own[at, column]) if column < own.shape[1] else None,
                        factor=float(np.exp(parts[at, column])),
                    )
                    for column in strongest
                    if parts[at, column]
                ),
                neighbours=near[at],
            )
        )
    return found


def describe(kernel: Kernel) -> str:
    """`Conv+Relu 1x64x56x56 -> 1x128x28x28`."""
    operators = "+".join(node.op_type for node in kernel.nodes[:4]) + ("+…" if len(kernel.nodes) > 4 else "")
    shapes = ["x".join(map(str, spec.shape or ())) for spec in (*kernel.inputs[:1], *kernel.outputs[:1])]
    return f"{operators} {' -> '.join(shapes)}"


def _neighbours(
    rows: KernelRows,
    own: np.ndarray,
    kernels: Sequence[Kernel],
    lane: Lane,
    records: Sequence[ProfileRecord],
    count: int,
) -> list[tuple[Neighbour, ...]]:
    measured = [(r.kernel, r.result.median_us) for r in records if r.lane == lane and isinstance(r.result, Measurement)]
    if not measured:
        return [() for _ in kernels]
    known, inverse = rows.take([kernel for kernel, _ in measured])
    known = known[inverse]
    spread = np.maximum(known.std(axis=0), 1e-6)
    families = np.array([kernel.family for kernel, _ in measured])
    found: list[tuple[Neighbour, ...]] = []
    for at, kernel in enumerate(kernels):
        distance = np.sqrt((((known - own[at]) / spread) ** 2).mean(axis=1))
        distance[families != kernel.family] = np.inf
        nearest = [int(i) for i in np.argsort(distance)[:count] if np.isfinite(distance[i])]
        found.append(
            tuple(
                Neighbour(kernel=describe(measured[i][0]), latency_us=measured[i][1], distance=float(distance[i]))
                for i in nearest
            )
        )
    return found
