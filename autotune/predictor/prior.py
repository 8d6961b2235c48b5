"""What physics says before any learning: a roofline per lane.

`latency = launch + FLOPs / rate(class) + bytes / bandwidth`, a smooth roofline (Williams, Waterman, Patterson, CACM
2009, with the sum in place of the maximum, since kernels overlap the two imperfectly), times a factor per family.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES
from autotune.predictor.features import Matrix, amount

Vector = npt.NDArray[np.float64]

CLASSES = ("dense", "depthwise", "light")
_CLASS_OF = {"convolution": 0, "matmul": 0, "attention": 0, "recurrent": 0, "depthwise": 1}


def class_of(family: str) -> int:
    """Position in `CLASSES` of a kernel family."""
    return _CLASS_OF.get(family, 2)


_CLASS = np.array([class_of(name) for name in FAMILIES])
LIGHT = np.equal(_CLASS, CLASSES.index("light"))
"""[family] whether it moves bytes more than it computes."""

ENOUGH = 20_000
"""Records that eight constants are fitted to; more change nothing and take minutes."""
_PULL = 0.2
"""Weight of the nominal constants, in records: a few measurements override them."""
_FAMILY_PULL = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """A lane's analytic constants.

    Args:
        launch_us: time of a kernel without work.
        us_per_flop: per class of `CLASSES`.
        us_per_byte: of everything read and written once.
        family_factor: per family of `FAMILIES`, what remains after the three terms.
    """

    launch_us: float
    us_per_flop: tuple[float, ...]
    us_per_byte: float
    family_factor: tuple[float, ...] = (1.0,) * len(FAMILIES)

    def log_us(self, rows: Matrix) -> Vector:
        """Natural logarithm of the predicted latency in µs, per row of kernel features."""
        flops, moved, family = _terms(rows)
        rate = np.asarray(self.us_per_flop)[_CLASS[family]]
        raw = np.log(self.launch_us + flops * rate + moved * self.us_per_byte)
        result: Vector = raw + np.log(np.asarray(self.family_factor))[family]
        return result


NOMINAL = Roofline(launch_us=2.0, us_per_flop=(2e-5, 5e-5, 4e-4), us_per_byte=1e-4)
"""50 GFLOP/s dense, 10 GB/s: a core of an ordinary processor, to within an order of magnitude. How classes differ is
more alike between processors than how fast they are."""


def fit_roofline(rows: Matrix, latency_us: Vector) -> Roofline:
    """Constants that fit measured latencies in log space, robustly (soft L1), pulled weakly to nominal ones.

    Of more than `ENOUGH` records every second, third, … is taken: rows are ordered by signature, that is, at random.
    """
    from scipy.optimize import least_squares

    step = -(-len(rows) // ENOUGH)
    if step > 1:
        rows, latency_us = rows[::step], latency_us[::step]
    flops, moved, family = _terms(rows)
    kind = _CLASS[family]
    nominal = np.log([NOMINAL.launch_us, *NOMINAL.us_per_flop, NOMINAL.us_per_byte])
    target = np.log(latency_us)

    def residuals(logs: Vector) -> Vector:
        constants = np.exp(logs)
        found = np.log(constants[0] + flops * constants[1:4][kind] + moved * constants[4]) - target
        away = logs - nominal
        away[2:4] -= away[1]  # classes that nobody measured are as much faster than nominal as dense work
        return np.concatenate([found, _PULL * away])

    solution = least_squares(residuals, nominal, loss="soft_l1", f_scale=0.3, max_nfev=100, bounds=(-30.0, 15.0))
    constants = np.exp(solution.x)
    residual = -residuals(solution.x)[: len(target)]
    factors = [1.0] * len(FAMILIES)
    for code in np.unique(family):
        own = residual[family == code]
        factors[code] = float(np.exp(np.median(own) * len(own) / (len(own) + _FAMILY_PULL)))
    return Roofline(
        launch_us=float(constants[0]),
        us_per_flop=tuple(float(rate) for rate in constants[1:4]),
        us_per_byte=float(constants[4]),
        family_factor=tuple(factors),
    )


def family_codes(rows: Matrix) -> npt.NDArray[np.intp]:
    """Position in `FAMILIES`, per row."""
    codes: npt.NDArray[np.intp] = np.argmax(rows[:, : len(FAMILIES)], axis=1)
    return codes


def _terms(rows: Matrix) -> tuple[Vector, Vector, npt.NDArray[np.intp]]:
    moved = sum(amount(rows, name) for name in ("log_bytes_in", "log_bytes_out", "log_weight_bytes"))
    return amount(rows, "log_flops"), np.asarray(moved, dtype=np.float64), family_codes(rows)
