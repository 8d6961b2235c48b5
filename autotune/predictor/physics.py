"""What physics says before any learning: latency is a sum of terms, pulled to the lane's roofline.

    latency = launch + FLOPs·a + bytes in·b + bytes out·c + weights·d
              + elements out × light operators fused behind·e + elements out × exponentials fused behind·f
              + elements out that are clipped·g + exponentials of elements out that a core's cache does not hold·h
              + rows normalised·i + bytes that come from memory·j

What a kernel touches comes from memory where the last cache does not hold it; of a kernel that computes much the
processor fetches it in the meantime. A convolution computes whole tiles of output channels, and with several threads
the busiest is waited for. How much the caches hold and how wide tiles are is learnt too (`Geometry`): a virtual machine
shares its caches, and a provider's code tells nobody what it is compiled for.

Constants by main operator, pulled to those of its kernel family, which are pulled to the roofline of all (`prior.py`).
Non-negative least squares on errors relative to what was measured or, where more is said, to the geometric mean of
both, reweighted towards their absolute values, so that a few wild measurements bend nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES
from autotune.predictor.features import COLUMN, L2_BYTES, Matrix
from autotune.predictor.prior import ENOUGH, LIGHT, Roofline, class_of, family_codes, fit_roofline
from autotune.predictor.shapes import ACTIVATIONS, MAIN_OPS

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

TERMS = 11
_CLIPPED = 7
"""Term that is left out where hardly any kernel has it: a provider that clips for nothing would learn noise."""
_FEWEST = 5
"""Records that have it, from which it is learnt."""
_EXPONENTIAL = [ACTIVATIONS.index(name) for name in ("silu", "sigmoid", "tanh", "gelu", "hard", "other")]
"""Activations that cost as much as some convolutions; others are fused into the loop before them."""
_FEW_ROWS = 16
"""Rows of a product up to which reading its weights takes longer than computing with them."""
_COPIES = 4
"""How often a kernel's weights are in the cache at once: it is timed as copies in a row (`profiler/probes.py`)."""
CACHES = (8 * 2**20, 16 * 2**20, 32 * 2**20, 64 * 2**20, 128 * 2**20)
"""Bytes of activations that a lane's last cache may hold."""
WEIGHT_CACHES = tuple(round(2 ** (23 + step / 2)) for step in range(9))
"""Bytes of weights that it may hold, finer: copies beyond it slow a product of one row threefold."""
TILES = (8, 16)
"""Output channels that a convolution may compute at once: those of a vector register, or two."""
SET = 4
"""Tiles of a set. Threads share out rows of sets (ONNX Runtime's NCHWc convolutions): of 80 output channels in tiles of
16, the second of two threads gets the rows of one tile, and the first those of four."""
_TILED = 0.95
"""By which factor tiles have to lower the error of convolutions: what fits by chance moves all others too."""
_PULL = 2.0
"""Weight of what constants are pulled to, for each term, in records."""
_LEAST_OWN = 3
"""Records of a main operator, under which it has the constants of its family."""
_PASSES = 8
_CLOSE = 0.03
"""Relative error under which records count alike."""
_LEAST_US = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What a lane's kernels show of its processor, in steps.

    Args:
        cache_bytes: activations that the last cache holds; 0: not known, everything comes from where it always does.
        weight_cache_bytes: the same of the weights of products with few rows.
        tile: output channels that a convolution computes at once; 0: as many as there are.
        threads: that share out rows of sets of tiles; 1: they share everything evenly.
    """

    cache_bytes: int = 0
    weight_cache_bytes: int = 0
    tile: int = 0
    threads: int = 1


NO_GEOMETRY = Geometry()
"""Nothing is known."""


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


def terms(rows: Matrix, geometry: Geometry = NO_GEOMETRY) -> Vector:
    """[n, term] amounts of each kernel: 1, FLOPs, bytes in, bytes out, bytes of weights, and six more.

    FLOPs are those that the busiest thread computes, tiles filled up, times threads. Elements out of operators fused
    behind: first of light ones, then one where an exponential is among them, one where they are clipped at both ends
    (some providers do so in a pass of its own), and the exponentials once more where their results do not fit into a
    core's own cache. Rows that are normalised. Bytes that come from memory: none while what is touched fits into half
    of the cache, all of them beyond the whole.
    """
    flops, into, out, weights = (
        np.exp2(rows[:, COLUMN[name]].astype(np.float64)) - 1
        for name in ("log_flops", "log_bytes_in", "log_bytes_out", "log_weight_bytes")
    )
    elements = out * 8 / np.maximum(rows[:, COLUMN["bits"]], 1.0)
    exponential = np.isin(rows[:, COLUMN["activation"]], _EXPONENTIAL)
    behind = elements * np.maximum(rows[:, COLUMN["nodes"]] - 1.0 - exponential, 0.0)
    flops = flops * _in_tiles(rows, geometry)
    each = np.exp2(rows[:, COLUMN["log_rows"]].astype(np.float64)) - 1
    clipped = elements * (rows[:, COLUMN["activation"]] == ACTIVATIONS.index("clip"))
    far = elements * exponential * _beyond(out, 2 * L2_BYTES)
    fused = [behind, elements * exponential, clipped, far]
    amounts = [np.ones(len(rows)), flops, into, out, weights, *fused, each]
    return np.column_stack([*amounts, _from_memory(rows, into + out, weights, geometry)])


def _from_memory(rows: Matrix, activations: Vector, weights: Vector, geometry: Geometry) -> Vector:
    """[n] bytes that a kernel waits for; of a table only those count that it reads, which are as many as it writes."""
    read = weights + activations
    light = activations * _beyond(activations, geometry.cache_bytes) * LIGHT[family_codes(rows)]
    few = read * _beyond(activations + _COPIES * weights, geometry.weight_cache_bytes) * _few_rows(rows)
    found: Vector = light + few
    return found


def _beyond(touched: Vector, cache_bytes: int) -> Vector:
    """[n] share of what is touched that a cache does not hold, in quarters: a hair of it could be given any price."""
    if not cache_bytes:
        return np.zeros(len(touched))
    share = np.clip(np.log2(np.maximum(touched, 1.0) / cache_bytes) + 1.0, 0.0, 1.0)
    result: Vector = np.round(4.0 * share) / 4.0
    return result


def _few_rows(rows: Matrix) -> npt.NDArray[np.bool_]:
    """[n] whether it is a product that waits for its weights."""
    found: npt.NDArray[np.bool_] = (rows[:, COLUMN["family_matmul"]] > 0) & (rows[:, COLUMN["h_out"]] <= _FEW_ROWS)
    return found


def _tiled(rows: Matrix) -> npt.NDArray[np.bool_]:
    """[n] whether it is a convolution that computes tiles of output channels."""
    found: npt.NDArray[np.bool_] = (rows[:, COLUMN["family_convolution"]] > 0) & np.isin(
        rows[:, COLUMN["main_op"]], _FORWARD
    )
    return found


_FORWARD = [MAIN_OPS.index(name) for name in ("Conv", "FusedConv", "ConvInteger", "QLinearConv")]


def _in_tiles(rows: Matrix, geometry: Geometry) -> Vector:
    """[n] what the busiest thread computes of a convolution, tiles filled up, over its even share; else 1."""
    found = np.ones(len(rows))
    tiled = _tiled(rows)
    if not geometry.tile or not tiled.any():
        return found
    batch, groups, channels, height = (
        np.maximum(rows[tiled, COLUMN[name]].astype(np.float64), 1.0) for name in ("n", "groups", "c_out", "h_out")
    )
    channels = np.maximum(np.floor(channels / groups), 1.0)
    tiles = np.ceil(channels / geometry.tile)
    sets = np.ceil(tiles / SET)

    def before(row: Vector) -> Vector:
        """Tiles in the first rows of sets: set by set, group by group."""
        group, rest = np.divmod(row, sets * height)
        own, line = np.divmod(rest, height)
        width = np.where(own < sets - 1.0, SET, tiles - SET * (sets - 1.0))
        found: Vector = height * (group * tiles + own * SET) + line * width
        return found

    each, over = np.divmod(batch * groups * sets * height, geometry.threads)
    ends = [thread * each + np.minimum(thread, over) for thread in range(geometry.threads + 1)]
    done = [before(end) for end in ends]
    busiest = np.max([after - begin for begin, after in pairwise(done)], axis=0)
    found[tiled] = busiest * geometry.threads * geometry.tile / (batch * groups * height * channels)
    return found


def fit_physics(rows: Matrix, latency_us: Vector, *, threads: int = 1) -> Physics:
    """Constants that fit latencies with so many threads; of more than `ENOUGH` every second, third, … is taken."""
    roofline = fit_roofline(rows, latency_us)
    step = max(1, -(-len(rows) // ENOUGH))
    rows, latency_us = rows[::step], latency_us[::step]
    geometry = _geometry(rows, latency_us, roofline, threads)
    amounts, family, pairs = terms(rows, geometry), family_codes(rows), _pairs(rows)
    families = _by_family(amounts, family, latency_us, roofline)
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


def _geometry(rows: Matrix, latency_us: Vector, roofline: Roofline, threads: int) -> Geometry:
    """Caches and tiles with which physics fits best those kernels that they concern, one after the other."""
    found = NO_GEOMETRY
    choices: list[tuple[npt.NDArray[np.bool_], float, list[dict[str, int]]]] = [
        (LIGHT[family_codes(rows)], 1.0, [{"cache_bytes": size} for size in CACHES]),
        (_few_rows(rows), 1.0, [{"weight_cache_bytes": size} for size in WEIGHT_CACHES]),
        (_tiled(rows), _TILED, [{"tile": tile, "threads": own} for tile in TILES for own in sorted({1, threads})]),
    ]
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
    amounts, family = terms(rows, geometry), family_codes(rows)
    families = _by_family(amounts, family, latency_us, roofline)
    return _off(amounts, np.array(families)[family], latency_us)


def _by_family(amounts: Vector, family: Codes, latency_us: Vector, roofline: Roofline) -> list[Vector]:
    """Constants of every family, the roofline's where it has no records."""
    return [
        _solve(amounts[family == code], latency_us[family == code], _of_roofline(roofline, code))
        for code in range(len(FAMILIES))
    ]


def _off(amounts: Vector, constants: Vector, latency_us: Vector) -> float:
    """How far physics is off, in the mean; what is off by more than a factor of e counts as that."""
    logs = np.log(np.maximum(np.sum(amounts * constants, axis=1), _LEAST_US) / latency_us)
    return float(np.minimum(np.abs(logs), 1.0).mean())


def _numbers(constants: list[Vector]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, one)) for one in constants)


def _of_roofline(roofline: Roofline, code: int) -> Vector:
    rate, byte = roofline.us_per_flop[class_of(FAMILIES[code])], roofline.us_per_byte
    result: Vector = roofline.family_factor[code] * np.array(
        [roofline.launch_us, rate, byte, byte, byte, *[0.0] * (TERMS - 5)]
    )
    return result


def _solve(amounts: Vector, latency_us: Vector, pulled_to: Vector) -> Vector:
    if not len(amounts):
        return pulled_to
    from scipy.optimize import nnls

    present = np.any(amounts, axis=0)
    relative = amounts / latency_us[:, None]
    if np.count_nonzero(relative[:, _CLIPPED]) < _FEWEST:
        relative[:, _CLIPPED] = 0.0
    typical = amounts.mean(axis=0) / latency_us.mean()
    unit = np.maximum(np.maximum(relative.mean(axis=0), 1e-3 * typical), 1e-300)  # columns differ by nine orders
    root = np.sqrt(_PULL)
    found = pulled_to
    for _ in range(_PASSES):
        said = relative @ found
        scale = np.maximum(said, 1.0) ** 0.5
        weight = (np.abs(said - 1) / scale + _CLOSE) ** -0.5 / scale
        weight /= weight.mean()
        matrix = np.vstack([relative / unit * weight[:, None], root * np.eye(TERMS)])
        solution, _ = nnls(matrix, np.concatenate([weight, root * pulled_to * unit]))
        found = np.where(present, solution / unit, 0.0)  # rounding over nothing is no price
    return found
