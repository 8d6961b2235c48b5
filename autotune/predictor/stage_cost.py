"""What one lane asks for a stage beyond its kernels: coefficients, what is assumed of them, and how they are fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

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
        relative_spread: robust standard deviation of measured over predicted, on models left out.
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
    "openvino": StageCost(scale=1.0, call_us=25.0, per_byte_in_us=6e-5, per_byte_out_us=6e-5, relative_spread=0.2),
}
"""By provider, where it is known to differ: a cut costs 70–250 µs between OpenVINO stages, far less on the CPU
(`benchmarks/cuts.py`)."""

_PRIOR_SPREAD = np.array([0.3, 60.0, 2e-4, 2e-4])
"""How far a lane may lie from the defaults: of scale, call, and bytes in and out."""


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
    return StageCost(
        scale=float(solution[0]),
        call_us=float(solution[1]),
        per_byte_in_us=float(solution[2]),
        per_byte_out_us=float(solution[3]),
        relative_spread=prior.relative_spread,
        records=len(rows),
    )
