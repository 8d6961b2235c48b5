"""How long a stage will take, from its kernels: what is paid once per stage comes on top of their marginal costs.

    latency = scale · Σ marginal + call + per_byte_in · bytes in + per_byte_out · bytes out        (per lane)

Additive on purpose: the search adds up prefix sums, so that millions of stages are compared without calling this room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, hypot, log

import numpy as np
import numpy.typing as npt

from autotune.core import Lane, Measurement, Prediction, StageRecord

Vector = npt.NDArray[np.float64]

DEVIATIONS = 1.645
"""Standard deviations that a 90 % interval reaches to either side."""
NOISE = 0.05
"""Relative error that one record is believed to have; sets how fast records outweigh the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """Coefficients of one lane.

    Args:
        scale: of the sum of marginal kernel costs.
        call_us: paid once per stage.
        per_byte_in_us: per byte of activations that come in.
        per_byte_out_us: per byte that goes out.
        relative_spread: robust standard deviation of measured over predicted.
        records: how many measured stages they rest on; 0: defaults.
    """

    scale: float
    call_us: float
    per_byte_in_us: float
    per_byte_out_us: float
    relative_spread: float
    records: int = 0

    def predict_us(self, sum_us: npt.ArrayLike, bytes_in: npt.ArrayLike, bytes_out: npt.ArrayLike) -> Vector:
        """Latency in µs of stages with these sums of marginal costs and bytes."""
        result: Vector = (
            self.scale * np.asarray(sum_us, dtype=np.float64)
            + self.call_us
            + self.per_byte_in_us * np.asarray(bytes_in, dtype=np.float64)
            + self.per_byte_out_us * np.asarray(bytes_out, dtype=np.float64)
        )
        return result


DEFAULT_COST = StageCost(scale=1.0, call_us=15.0, per_byte_in_us=5e-5, per_byte_out_us=5e-5, relative_spread=0.25)
"""Before any stage is measured: an empty call takes 6–30 µs, a copy runs at some 20 GB/s."""
DEFAULT_COSTS: Mapping[str, StageCost] = {
    "cpu": StageCost(scale=1.0, call_us=10.0, per_byte_in_us=3e-5, per_byte_out_us=3e-5, relative_spread=0.15),
    "openvino": StageCost(scale=1.0, call_us=60.0, per_byte_in_us=5e-5, per_byte_out_us=5e-5, relative_spread=0.2),
}
"""By provider, where it is known to differ: a cut costs 70–250 µs between OpenVINO stages, far less on the CPU
(`benchmarks/cuts.py`)."""

_PRIOR_SPREAD = np.array([0.3, 60.0, 2e-4, 2e-4])
"""How far a lane may lie from the defaults: of scale, call, and bytes in and out."""


class StagePredictor:
    """Stage costs per lane; immutable once fitted.

    Args:
        costs: coefficients of the lanes that were measured.
        pooled: coefficients per processor, for its lanes that were not.
    """

    def __init__(
        self, costs: Mapping[Lane, StageCost] | None = None, pooled: Mapping[str, StageCost] | None = None
    ) -> None:
        self.costs = dict(costs or {})
        self.pooled = dict(pooled or {})

    @staticmethod
    def fit(
        records: Sequence[StageRecord], kernel_us: Callable[[Sequence[str], Lane], npt.NDArray[np.float64]]
    ) -> StagePredictor:
        """Coefficients from measured stages and whole models; none at all gives the defaults.

        Relative errors are weighed, so that a whole model does not drown its stages, and robustly, so that one
        disturbed measurement does not bend a lane.

        Args:
            records: of one device; failures are skipped.
            kernel_us: marginal costs (measured where known, else predicted) of kernels given by signature; a stage with
                one that is NaN or infinite teaches nothing and is skipped.
        """
        rows: dict[Lane, list[tuple[float, float, float, float]]] = {}
        for record in records:
            if isinstance(record.result, Measurement):
                total = float(np.sum(kernel_us(record.kernels, record.lane)))
                if not np.isfinite(total):
                    continue
                row = (total, float(record.bytes_in), float(record.bytes_out), record.result.median_us)
                rows.setdefault(record.lane, []).append(row)
        pooled: dict[str, StageCost] = {}
        for processor in sorted({lane.processor for lane in rows}):
            shared = [row for lane, own in rows.items() if lane.processor == processor for row in own]
            pooled[processor] = fit_cost(np.array(shared), default_cost(processor))
        costs = {lane: fit_cost(np.array(own), pooled[lane.processor]) for lane, own in rows.items()}
        return StagePredictor(costs, pooled)

    def coefficients(self, lane: Lane) -> StageCost:
        """The lane's own, else its processor's, else defaults."""
        own = self.costs.get(lane) or self.pooled.get(lane.processor)
        return own or default_cost(lane.processor)

    def predict_us(
        self, sum_us: npt.ArrayLike, bytes_in: npt.ArrayLike, bytes_out: npt.ArrayLike, lane: Lane
    ) -> Vector:
        """Latency in µs of stages on a lane, from the sums of their kernels' marginal costs; arrays broadcast."""
        return self.coefficients(lane).predict_us(sum_us, bytes_in, bytes_out)

    def predict(self, kernels: Sequence[Prediction], bytes_in: int, bytes_out: int, lane: Lane) -> Prediction:
        """Latency of one stage of predicted kernels, with its 90 % interval.

        Two errors add up in squares of logarithms: that of stages whose kernels are known (the lane's
        `relative_spread`), and that of the kernels, which err together: they are of one model.
        """
        cost = self.coefficients(lane)
        sums_us = [sum(one.median_us for one in kernels), sum(one.high_us for one in kernels)]
        median_us, high_us = cost.predict_us(sums_us, bytes_in, bytes_out).tolist()
        of_kernels = log(high_us / median_us) if median_us > 0 else 0.0
        factor = exp(hypot(DEVIATIONS * cost.relative_spread, of_kernels))
        return Prediction(median_us=median_us, low_us=median_us / factor, high_us=median_us * factor)


def default_cost(processor: str) -> StageCost:
    """What is assumed of a processor before any of its stages is measured."""
    return DEFAULT_COSTS.get(processor.split(":", maxsplit=1)[0], DEFAULT_COST)


def fit_cost(rows: Vector, prior: StageCost, *, passes: int = 12) -> StageCost:
    """Non-negative least squares on relative errors, reweighted (Huber), pulled to a prior.

    Args:
        rows: one per stage: sum of marginal costs, bytes in, bytes out, measured latency.
        prior: coefficients that hold as far as the records say nothing else.
        passes: of the reweighting.
    """
    from scipy.optimize import nnls

    centre = np.array([prior.scale, prior.call_us, prior.per_byte_in_us, prior.per_byte_out_us])
    measured = rows[:, 3]
    design = np.column_stack([rows[:, 0], np.ones(len(rows)), rows[:, 1], rows[:, 2]]) / (measured * NOISE)[:, None]
    target = np.full(len(rows), 1.0 / NOISE)
    unit = _PRIOR_SPREAD  # solve in units of the prior's spread: columns differ by seven orders of magnitude
    weights = np.ones(len(rows))
    solution = centre
    for _ in range(passes):
        root = np.sqrt(weights)
        matrix = np.vstack([design * root[:, None] * unit, np.eye(4)])
        found, _ = nnls(matrix, np.concatenate([target * root, centre / unit]))
        solution = found * unit
        residual = np.abs(design @ solution - target)
        cut = max(1.345, 1.345 * 1.4826 * float(np.median(residual)))
        weights = np.minimum(1.0, cut / np.maximum(residual, 1e-12))
    relative = design @ solution * NOISE
    logs = np.log(np.maximum(relative, 1e-6))
    spread = 1.4826 * float(np.median(np.abs(logs)))
    believed = (spread * len(rows) + prior.relative_spread * 2) / (len(rows) + 2)
    return StageCost(
        scale=float(solution[0]),
        call_us=float(solution[1]),
        per_byte_in_us=float(solution[2]),
        per_byte_out_us=float(solution[3]),
        relative_spread=believed,
        records=len(rows),
    )
