"""What physics says before any learning: latency is a sum of terms, pulled to the lane's roofline.

    latency = launch + FLOPs·a + bytes in·b + bytes out·c + weights·d + …    (`terms.py`)

How much caches hold and how convolutions are tiled is learnt too (`geometry.py`, `tiles.py`).

Constants by main operator, pulled to those of its kernel family, which are pulled to the roofline of all (`prior.py`).
Non-negative least squares on errors relative to what was measured or, where more is said, to the geometric mean of
both, reweighted towards their absolute values, so that a few wild measurements bend nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES
from autotune.predictor.features import COLUMN, Matrix, amount
from autotune.predictor.geometry import CACHES, NO_GEOMETRY, TILES, WEIGHT_CACHES, Geometry
from autotune.predictor.prior import CLASSES, ENOUGH, LIGHT, Roofline, class_of, family_codes, fit_roofline
from autotune.predictor.shapes import MAIN_OPS
from autotune.predictor.terms import TERMS, few_rows, terms
from autotune.predictor.tiles import tiled

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

_FLOPS, _APART, _USUAL, _EXPONENTIAL = (
    TERMS.index(name) for name in ("flops", "flops apart", "weights", "exponential")
)
"""Terms before `weights` (launch, FLOPs, bytes in and out) are every kernel's."""
_CONVOLUTION, _DEPTHWISE = (FAMILIES.index(name) for name in ("convolution", "depthwise"))
_FLOPS_OF_EXPONENTIAL = 6.0
"""Of light work: what an exponential behind a kernel costs where none was measured. Where they were, it was 3 to 17 on
lanes of OpenVINO, more on the CPU provider's."""
_FEWEST = 5
"""Records that have another term, from which its price is learnt: one record lets it have any price."""
_FAR = 0.3
"""Logarithm beyond which one error says no more than another of the processor: what fits most kernels well is right."""
_CACHED = 0.999
"""By which factor a cache has to lower the error of what it concerns: rounding decides nothing."""
_TILED = 0.95
"""By which factor tiles have to lower the error of convolutions: what fits by chance moves all others too. Where they
are expected, columns and all, not having them has to."""
_PULL = 2.0
"""Weight of what constants are pulled to, for each term, in records."""
_HELD = 0.1
"""Root of the weight, in records, at which each price is pulled for its own sake, however little of these kernels' time
it makes up: of products with one row nothing tells what FLOPs cost, and then they cost nothing."""
_LEAST_OWN = 3
"""Records of a main operator, under which it has the constants of its family."""
_PASSES = 8
_CLOSE = 0.03
"""Relative error under which records count alike."""
_LEAST_US = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """A lane's constants.

    Args:
        coefficients: [family of `FAMILIES`, term] µs per unit of each term.
        operators: codes of the family and main operator pairs that have constants of their own, rising.
        own: [pair, term] theirs.
        geometry: caches and tiles.
        least_us: what the fastest kernel takes that was learnt from, a view of another shape say: none takes less.
    """

    coefficients: tuple[tuple[float, ...], ...]
    operators: tuple[int, ...] = ()
    own: tuple[tuple[float, ...], ...] = ()
    geometry: Geometry = NO_GEOMETRY
    least_us: float = _LEAST_US

    def log_us(self, rows: Matrix) -> Vector:
        """Natural logarithm of the predicted latency in µs, per row of kernel features."""
        found = np.sum(terms(rows, self.geometry) * self._constants(rows), axis=1)
        result: Vector = np.log(np.maximum(found, max(self.least_us, _LEAST_US)))
        return result

    @property
    def least_log_us(self) -> float:
        """Natural logarithm of the least latency in µs that is predicted."""
        return math.log(self.least_us)

    def _constants(self, rows: Matrix) -> Vector:
        """[n, term] those of each row."""
        constants = np.asarray(self.coefficients)[family_codes(rows)]
        if self.operators:
            codes, known = _pairs(rows), np.asarray(self.operators)
            at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
            constants = np.where((known[at] == codes)[:, None], np.asarray(self.own)[at], constants)
        return constants


def _pairs(rows: Matrix) -> Codes:
    """[n] a number for the family and main operator of each row."""
    pairs: Codes = family_codes(rows) * (len(MAIN_OPS) + 1) + rows[:, COLUMN["main_op"]].astype(np.intp)
    return pairs


def fit_physics(rows: Matrix, latency_us: Vector, *, threads: int = 1, blocked: bool = False) -> Physics:
    """Constants that fit latencies; of more than `ENOUGH` every second, third, … is taken.

    Args:
        rows: [n] kernel features.
        latency_us: [n] what they take.
        threads: that compute them.
        blocked: whether convolutions are expected to be those of `tiles.py`, columns and all; else tiles are only
            filled up, if at all.
    """
    roofline = fit_roofline(rows, latency_us)
    step = max(1, -(-len(rows) // ENOUGH))
    rows, latency_us = rows[::step], latency_us[::step]
    geometry = _geometry(rows, latency_us, roofline, threads, blocked)
    amounts, family, pairs = terms(rows, geometry), family_codes(rows), _pairs(rows)
    families = _by_family(amounts, rows, latency_us, roofline, geometry)
    codes, first, count = np.unique(pairs, return_index=True, return_counts=True)
    enough = count >= _LEAST_OWN
    own = [
        _solve(amounts[pairs == code], latency_us[pairs == code], families[family[at]])
        for code, at in zip(codes[enough], first[enough], strict=True)
    ]
    return Physics(
        coefficients=_numbers(families),
        operators=tuple(map(int, codes[enough])),
        own=_numbers(own),
        geometry=geometry,
        least_us=float(latency_us.min()) if len(latency_us) else _LEAST_US,
    )


def _geometry(rows: Matrix, latency_us: Vector, roofline: Roofline, threads: int, blocked: bool) -> Geometry:
    """Caches and tiles with which physics fits best those kernels that they concern, one after the other."""
    found = NO_GEOMETRY
    choices: list[tuple[npt.NDArray[np.bool_], float, list[dict[str, int]]]] = [
        (LIGHT[family_codes(rows)], _CACHED, [{"cache_bytes": size} for size in CACHES]),
        (few_rows(rows), _CACHED, [{"weight_cache_bytes": size} for size in WEIGHT_CACHES]),
        (tiled(rows), _TILED, [{"tile": tile, "threads": own} for tile, _ in TILES for own in sorted({1, threads})]),
    ]
    if blocked:
        whole = [{"tile": tile, "columns": columns, "threads": threads} for tile, columns in TILES]
        choices.append((tiled(rows), 1 / _TILED, whole))
    for concerned, better, options in choices:
        if not concerned.any():
            continue
        chosen = np.isin(family_codes(rows), family_codes(rows[concerned]))
        own_rows, own_us = rows[chosen], latency_us[chosen]
        least = _off_with(found, own_rows, own_us, roofline) * better
        for option in options:
            other = replace(found, **option)
            off = _off_with(other, own_rows, own_us, roofline)
            if off < least:
                found, least = other, off
    return found


def _off_with(geometry: Geometry, rows: Matrix, latency_us: Vector, roofline: Roofline) -> float:
    """How far physics by family is off with these caches and tiles."""
    amounts = terms(rows, geometry)
    families = _by_family(amounts, rows, latency_us, roofline, geometry)
    return _off(amounts, np.array(families)[family_codes(rows)], latency_us)


def _by_family(
    amounts: Vector, rows: Matrix, latency_us: Vector, roofline: Roofline, geometry: Geometry
) -> list[Vector]:
    """Constants of every family, the roofline's where it has no records.

    What is blocked counts what could have been computed meanwhile, and that costs the same in a depthwise convolution
    as in another.
    """
    family, flops = family_codes(rows), amount(rows, "log_flops")
    found: list[Vector] = []
    for code in range(len(FAMILIES)):
        own = family == code
        pulled_to = _of_roofline(roofline, code)
        pulled_to[_APART] = pulled_to[_FLOPS]
        if geometry.columns and code == _DEPTHWISE and (family == _CONVOLUTION).any():
            pulled_to /= roofline.family_factor[code]
            pulled_to[_FLOPS] = found[_CONVOLUTION][_FLOPS]
        else:
            pulled_to[_FLOPS] *= _share(flops[own & (amounts[:, _FLOPS] > 0)], amounts[own, _FLOPS])
        found.append(_solve(amounts[own], latency_us[own], pulled_to))
    return found


def _share(flops: Vector, capable: Vector) -> float:
    """FLOPs over those of which the processor is capable meanwhile: the roofline's price is per FLOP."""
    return float(flops.sum() / capable.sum()) if capable.any() else 1.0


def _off(amounts: Vector, constants: Vector, latency_us: Vector) -> float:
    """How far physics is off, in the mean; what is off by more than `_FAR` counts as that."""
    logs = np.log(np.maximum(np.sum(amounts * constants, axis=1), _LEAST_US) / latency_us)
    return float(np.minimum(np.abs(logs), _FAR).mean())


def _numbers(constants: list[Vector]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, one)) for one in constants)


def _of_roofline(roofline: Roofline, code: int) -> Vector:
    rate, byte = roofline.us_per_flop[class_of(FAMILIES[code])], roofline.us_per_byte
    result: Vector = roofline.family_factor[code] * np.array(
        [roofline.launch_us, rate, byte, byte, byte, *[0.0] * (len(TERMS) - 5)]
    )
    result[_EXPONENTIAL] = _FLOPS_OF_EXPONENTIAL * roofline.us_per_flop[CLASSES.index("light")]
    return result


def _solve(amounts: Vector, latency_us: Vector, pulled_to: Vector) -> Vector:
    if not len(amounts):
        return pulled_to
    from scipy.optimize import nnls

    relative = amounts / latency_us[:, None]
    count = np.count_nonzero(relative, axis=0)
    seldom = count < _FEWEST
    seldom[:_USUAL] = count[:_USUAL] == 0
    typical = amounts.mean(axis=0) / latency_us.mean()
    unit = np.maximum(np.maximum(relative.mean(axis=0), 1e-3 * typical), 1e-300)  # columns differ by nine orders
    root, learnt = np.sqrt(_PULL), np.where(seldom, 0.0, relative)
    rest, found = 1.0 - relative[:, seldom] @ pulled_to[seldom], pulled_to
    known = pulled_to > 0
    held = known / np.where(known, pulled_to * unit, 1.0)
    for _ in range(_PASSES):
        said = relative @ found
        scale = np.maximum(said, 1.0) ** 0.5
        weight = (np.abs(said - 1) / scale + _CLOSE) ** -0.5 / scale
        weight /= weight.mean()
        matrix = np.vstack([learnt / unit * weight[:, None], root * np.eye(len(TERMS)), _HELD * np.diag(held)])
        solution, _ = nnls(matrix, np.concatenate([rest * weight, root * pulled_to * unit, _HELD * known]))
        found = np.where(seldom, pulled_to, solution / unit)
    return found
