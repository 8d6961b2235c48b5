"""One visible row of numbers per kernel: what the predictors see."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES, Device, Kernel, Lane, Precision
from autotune.core.tensor import BITS_PER_ELEMENT
from autotune.predictor.shapes import Dims, main_operator

if TYPE_CHECKING:
    import pandas as pd

FEATURES_VERSION = 4
"""Changes whenever a column changes its meaning; a saved predictor of another version is refused."""

L1_BYTES, L2_BYTES, L3_BYTES = 48 * 1024, 1024 * 1024, 32 * 1024 * 1024
"""Nominal cache sizes. Trees split wherever the device's own sizes show, so that these only place the zero."""

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A column: its name, its unit, and why hardware cares."""

    name: str
    unit: str
    reason: str


def _f(name: str, unit: str, reason: str) -> Feature:
    return Feature(name=name, unit=unit, reason=reason)


KERNEL_FEATURES: tuple[Feature, ...] = (
    *(_f(f"family_{name}", "0/1", "families run on different code paths") for name in FAMILIES),
    _f("main_op", "code", "the operator that decides the cost, by position in MAIN_OPS"),
    _f("activation", "code", "what is fused behind it, by position in ACTIVATIONS"),
    _f("nodes", "count", "what a provider does not fuse it runs one by one"),
    _f("inputs", "count", "several inputs are read side by side (residual additions, Concat)"),
    _f("rank", "count", "rank of the first input: providers lay out images otherwise than other tensors"),
    _f("log_run", "log2 byte", "data movement: what stays side by side; scattered elements waste cache lines; else 0"),
    _f("log_rows", "log2 count", "normalisation: rows, each of which costs something however short it is; else 0"),
    _f("bits", "bits", "width of an element of the first input"),
    _f("log_flops", "log2 FLOP", "work"),
    _f("log_bytes_in", "log2 byte", "activations read"),
    _f("log_bytes_out", "log2 byte", "activations written"),
    _f("log_weight_bytes", "log2 byte", "weights read"),
    _f("log_intensity", "log2 FLOP/byte", "which side of the roofline"),
    _f("log_l1", "log2 ratio", "activations read over the first cache"),
    _f("log_l2_weights", "log2 ratio", "weights over the second cache: reused between tiles or fetched again"),
    _f("log_l3", "log2 ratio", "everything touched over the last cache: memory bound beyond"),
    _f("n", "count", "batch"),
    _f("c_in", "count", "input channels, or inner dimension of a product"),
    _f("h_in", "count", "input height"),
    _f("w_in", "count", "input width"),
    _f("c_out", "count", "output channels, or columns of a product"),
    _f("h_out", "count", "output height, or rows of a product"),
    _f("w_out", "count", "output width"),
    _f("kernel_h", "count", "window height: special code paths for 1 and 3"),
    _f("kernel_w", "count", "window width"),
    _f("stride", "count", "strided loads waste cache lines"),
    _f("groups", "count", "groups split a convolution into small ones"),
    _f("dilation", "count", "dilated windows miss the fast paths"),
    _f("log_pixels_out", "log2 count", "output positions: what is split over threads and tiles"),
    _f("channels_per_group", "count", "inner loop length of a grouped convolution"),
    _f("outputs_per_group", "count", "outer loop length of a grouped convolution"),
    _f("reduction", "count", "products per output value: inner loop length"),
    *(_f(f"c_in_mod_{m}", "count", f"input channels left over from tiles of {m}") for m in (8, 16, 32, 64)),
    *(_f(f"c_out_mod_{m}", "count", f"output channels left over from tiles of {m}") for m in (8, 16, 32, 64)),
    *(_f(f"pixels_mod_{m}", "count", f"output positions left over from tiles of {m}") for m in (8, 16, 32, 64)),
    _f("fill_c_in_16", "share", "share of a tile of 16 input channels that is used"),
    _f("fill_c_out_16", "share", "share of a tile of 16 output channels that is used"),
    _f("fill_c_out_64", "share", "share of a set of 64 output channels that is used: sets are what threads are given"),
)

LANE_FEATURES: tuple[Feature, ...] = (
    _f("threads", "count", "threads of one inference; the cores of the device where the provider decides"),
    _f("streams", "count", "inferences at the same time"),
    _f("precision_bits", "bits", "width of the arithmetic"),
    _f("bfloat", "0/1", "bfloat16 has its own units"),
    _f("spinning", "-1/0/1", "whether idle threads spin; -1: the provider decides"),
    _f("pinned", "count", "cores that threads are pinned to"),
    _f("log_flops_per_thread", "log2 FLOP", "work of one thread"),
    _f("log_pixels_per_thread", "log2 count", "positions of one thread"),
    _f("log_prior", "log2 µs", "what physics and like kernels say"),
)

FEATURES = KERNEL_FEATURES + LANE_FEATURES
NAMES = tuple(feature.name for feature in FEATURES)
COLUMN = {name: position for position, name in enumerate(NAMES)}


_FAMILY = {name: code for code, name in enumerate(FAMILIES)}
_FACTS = (
    "family", "main_op", "activation", "run", "rows", "nodes", "inputs", "rank", "bits", "flops", "read", "written",
    "weights",
)  # fmt: skip
"""Whole numbers that are read off a kernel one by one, before those of `Dims`; all else is computed by column."""


def _facts(kernel: Kernel) -> tuple[int, ...]:
    main = main_operator(kernel)
    tensors = kernel.inputs or kernel.outputs
    bits, rank = (BITS_PER_ELEMENT[tensors[0].dtype], len(tensors[0].shape or ())) if tensors else (0, 0)
    return (
        _FAMILY[kernel.family], main.code, main.activation, main.run, main.rows, len(kernel.nodes), len(kernel.inputs),
        rank, bits, kernel.flops, kernel.bytes_read, kernel.bytes_written, kernel.weight_bytes, *main.dims,
    )  # fmt: skip


def kernel_rows(kernels: Sequence[Kernel]) -> Matrix:
    """Values of `KERNEL_FEATURES`, one row per kernel."""
    width = len(_FACTS) + len(Dims._fields)
    flat = np.fromiter(chain.from_iterable(map(_facts, kernels)), dtype=np.float64, count=width * len(kernels))
    fact = dict(zip((*_FACTS, *Dims._fields), flat.reshape(-1, width).T, strict=True))
    everything = fact["read"] + fact["written"] + fact["weights"]
    pixels = fact["n"] * fact["h_out"] * fact["w_out"]
    per_group = fact["c_in"] // np.maximum(fact["groups"], 1)
    log_flops = np.log2(fact["flops"] + 1)
    columns = {name: fact[name] for name in (*_FACTS, *Dims._fields) if name in COLUMN}
    columns |= {f"family_{name}": fact["family"] == code for name, code in _FAMILY.items()}
    columns |= {
        "log_flops": log_flops,
        "log_bytes_in": np.log2(fact["read"] + 1),
        "log_bytes_out": np.log2(fact["written"] + 1),
        "log_weight_bytes": np.log2(fact["weights"] + 1),
        "log_intensity": log_flops - np.log2(everything + 1),
        "log_run": np.log2(fact["run"] * fact["bits"] / 8 + 1),
        "log_rows": np.log2(fact["rows"] + 1),
        "log_l1": np.log2((fact["read"] + 1) / L1_BYTES),
        "log_l2_weights": np.log2((fact["weights"] + 1) / L2_BYTES),
        "log_l3": np.log2((everything + 1) / L3_BYTES),
        "log_pixels_out": np.log2(pixels + 1),
        "channels_per_group": per_group,
        "outputs_per_group": fact["c_out"] // np.maximum(fact["groups"], 1),
        "reduction": per_group * fact["kernel_h"] * fact["kernel_w"],
        "fill_c_in_16": _fill(fact["c_in"], 16),
        "fill_c_out_16": _fill(fact["c_out"], 16),
        "fill_c_out_64": _fill(fact["c_out"], 64),
    }
    for name, values in (("c_in", fact["c_in"]), ("c_out", fact["c_out"]), ("pixels", pixels)):
        columns |= {f"{name}_mod_{tile}": values % tile for tile in (8, 16, 32, 64)}
    table = np.empty((len(kernels), len(KERNEL_FEATURES)), dtype=np.float32)
    for position, feature in enumerate(KERNEL_FEATURES):
        table[:, position] = columns[feature.name]
    return table


def amount(rows: Matrix, name: str) -> npt.NDArray[np.float64]:
    """[n] what a feature named `log_…` is the binary logarithm of, less the one that was added to it."""
    found: npt.NDArray[np.float64] = np.exp2(rows[:, COLUMN[name]].astype(np.float64)) - 1
    return found


def _fill(count: npt.NDArray[np.float64], tile: int) -> npt.NDArray[np.float64]:
    """Share of the tiles that is used; 0 of none."""
    share: npt.NDArray[np.float64] = count / np.maximum(np.ceil(count / tile) * tile, 1)
    return share


class KernelRows:
    """Feature rows of kernels, each computed once and found again by the kernel object's identity.

    Hashing a kernel takes longer than predicting it; the objects are kept alive here, so that an identity can't come to
    mean another kernel. Thread-safe.

    Args:
        limit: kernels kept; beyond it everything is forgotten and computed again.
    """

    def __init__(self, *, limit: int = 200_000) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._index: dict[int, int] = {}
        self._kept: list[Kernel] = []
        self._matrix: Matrix = np.empty((256, len(KERNEL_FEATURES)), dtype=np.float32)

    def take(self, kernels: Sequence[Kernel]) -> tuple[Matrix, npt.NDArray[np.intp]]:
        """Distinct rows, and for each kernel which of them is its own: `rows[inverse]` is the table of all."""
        with self._lock:
            positions = self._positions(kernels)
            matrix = self._matrix
        seen, inverse = np.unique(positions, return_inverse=True)
        return matrix[seen], inverse

    def _positions(self, kernels: Sequence[Kernel]) -> npt.NDArray[np.intp]:
        try:
            return np.array([self._index[key] for key in map(id, kernels)], dtype=np.intp)
        except KeyError:
            pass
        distinct = {id(kernel): kernel for kernel in kernels}
        new = [kernel for key, kernel in distinct.items() if key not in self._index]
        if len(self._kept) + len(new) > self._limit:
            self._clear()
            new = list(distinct.values())
        start = len(self._kept)
        self._grow(start + len(new))
        if new:
            self._matrix[start : start + len(new)] = kernel_rows(new)
        for position, kernel in enumerate(new, start):
            self._index[id(kernel)] = position
        self._kept += new
        return np.array([self._index[key] for key in map(id, kernels)], dtype=np.intp)

    def _grow(self, rows: int) -> None:
        if rows > len(self._matrix):
            larger = np.empty((max(rows, 2 * len(self._matrix)), len(KERNEL_FEATURES)), dtype=np.float32)
            larger[: len(self._matrix)] = self._matrix
            self._matrix = larger


def lane_table(rows: Matrix, lane: Lane, cores: int, log_prior: npt.NDArray[np.float64]) -> Matrix:
    """Kernel features with the lane's columns behind them; `cores` stands in where the provider decides on threads."""
    setting = lane.concurrency
    threads = setting.threads or cores
    table = np.empty((len(rows), len(FEATURES)), dtype=np.float32)
    width = len(KERNEL_FEATURES)
    table[:, :width] = rows
    spinning = -1.0 if setting.spinning is None else float(setting.spinning)
    bits = 32 if lane.precision is Precision.F32 else 16
    table[:, width : width + 6] = (
        threads, setting.streams, bits, lane.precision is Precision.BF16, spinning, len(setting.cores),
    )  # fmt: skip
    table[:, width + 6] = rows[:, COLUMN["log_flops"]] - math.log2(threads)
    table[:, width + 7] = rows[:, COLUMN["log_pixels_out"]] - math.log2(threads)
    table[:, width + 8] = log_prior / math.log(2.0)
    return table


def features(kernels: Sequence[Kernel], lane: Lane, device: Device) -> pd.DataFrame:
    """One row per kernel, columns as in `FEATURES`; `log_prior` is that of a nominal lane, before any is fitted."""
    import pandas as pd

    from autotune.predictor.prior import NOMINAL

    rows, inverse = KernelRows().take(kernels)
    table = lane_table(rows, lane, len(device.cores), NOMINAL.log_us(rows))
    return pd.DataFrame(table[inverse], columns=list(NAMES))
