"""Features of operators on phone GPUs, from shapes alone: what a delegate knows before it runs anything.

A phone's GPU stores four channels together (PHWC4), so that channels count in slices of four; convolutions over one
pixel run as fully connected layers; what special kernels are taken is in `delegate.py`. All sizes are logarithms to
base 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autotune.errors import InputError
from autotune.predictor.tables.delegate import CONSTANT_BYTES, chosen, joined
from autotune.predictor.tables.launches import launches
from autotune.predictor.tables.operators import OperatorTable, Strings, Vector

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("op", "in_hw", "in_c", "out_hw", "out_c", "kernel", "stride", "groups")
"""What a table of operators must have: sides in pixels, channels, kernel side (inputs, of a concatenation)."""


def families(op: Strings, one_pixel: np.ndarray, one_pixel_out: np.ndarray) -> Strings:
    """Family of each operator by its name in TensorFlow Lite or PyTorch."""
    names = np.char.lower(op.astype(str))
    found = np.full(len(names), "elementwise", dtype="<U12")

    def has(*parts: str) -> np.ndarray:
        return np.asarray(np.any([np.char.find(names, part) >= 0 for part in parts], axis=0))

    found[has("concat", "cat")] = "concat"
    found[has("pool")] = "pool"
    found[has("mean", "adaptive_avg") | (has("average_pool") & one_pixel_out)] = "mean"
    found[has("conv")] = "convolution"
    found[has("depthwise")] = "depthwise"
    found[has("fully_connected", "linear") | ((found == "convolution") & one_pixel)] = "dense"
    return found


def mobile_gpu_table(rows: pd.DataFrame) -> OperatorTable:
    """Features of n operators.

    Args:
        rows: with `COLUMNS`; a size that an operator does not have is empty.

    Raises:
        InputError: a column is missing.
    """
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise InputError(f"the table of operators lacks the columns {', '.join(missing)}")
    op = rows["op"].to_numpy(dtype=str)
    sizes = {name: rows[name].to_numpy(dtype=np.float64) for name in COLUMNS[1:]}
    in_side = _filled(sizes["in_hw"], 1.0)
    out_side = np.where(
        np.char.find(op, "mean") >= 0, 1.0, _filled(sizes["out_hw"], in_side)
    )  # of a mean, out_hw holds its channels
    family = families(op, (in_side == 1) & (out_side == 1), out_side == 1)
    concat = family == "concat"
    in_channels = _filled(sizes["in_c"], 1.0)
    out_channels = _filled(sizes["out_c"], in_channels)
    size = _filled(sizes["kernel"], 1.0)
    kernel, inputs = np.where(concat, 1.0, size), np.where(concat, size, 1.0)
    stride = _filled(sizes["stride"], 1.0)
    groups = np.where(family == "depthwise", in_channels, _filled(sizes["groups"], 1.0))
    in_slices, out_slices, pixels = np.ceil(in_channels / 4), np.ceil(out_channels / 4), out_side**2
    summing = np.isin(family, ("convolution", "dense"))
    mean = family == "mean"
    depth = np.where(summing, kernel**2 * np.ceil(in_channels / groups / 4), kernel**2)
    reduction = np.where(mean, in_side**2, depth)
    work = 4 * pixels * out_slices * reduction * np.where(summing, 4.0, 1.0)
    moved_in, moved_out = 4 * in_side**2 * in_slices, 4 * pixels * out_slices
    weights = np.where(summing, 16 * depth * out_slices, np.where(family == "depthwise", 4 * depth * out_slices, 0.0))
    winograd = (family == "convolution") & (kernel == 3) & (stride == 1) & (groups == 1)
    grouped = (family == "convolution") & (groups > 1)
    columns: dict[str, Vector] = {
        "op": np.unique(op, return_inverse=True)[1].astype(np.float64),
        "in_side": _log(in_side), "out_side": _log(out_side),
        "in_channels": _log(in_channels), "out_channels": _log(out_channels),
        "in_slices": _log(in_slices), "out_slices": _log(out_slices),
        "kernel": _log(kernel), "stride": _log(stride), "groups": _log(groups), "inputs": inputs,
        "reduction": _log(reduction), "work": _log(work), "outputs": _log(pixels * out_slices),
        "bytes_in": _log(moved_in), "bytes_out": _log(moved_out), "weights": _log(weights + 1),
        "moved": _log(moved_in + moved_out + weights),
        "intensity": _log(work / (moved_in + moved_out + weights)),
        "in_rest": in_channels % 4, "out_rest": out_channels % 4, "second_rest": (out_channels - in_channels) % 4,
        "out_slices_2": out_slices % 2, "out_slices_4": out_slices % 4, "out_slices_8": out_slices % 8,
        "winograd": winograd.astype(np.float64), "tiles": _log(np.ceil(out_side / 4) ** 2),
        "grouped": grouped.astype(np.float64),
        "one_pixel": (op_is(op, "conv") & (family == "dense")).astype(np.float64),
        "is_max": op_is(op, "max").astype(np.float64), "is_mean": mean.astype(np.float64),
        "valid": (out_side - 1) * stride + kernel - in_side,
    }  # fmt: skip
    for block in (2, 4, 8):
        columns[f"tiles_{block}"] = _log(np.ceil(out_side / block) ** 2 * out_slices)
        columns[f"waste_{block}"] = np.ceil(out_side / block) * block / out_side
    suited = np.isin(family, ("convolution", "dense")) & (groups == 1)
    columns |= chosen(suited, winograd, kernel, in_channels, out_channels, out_side)
    constant = columns[f"constants_{max(CONSTANT_BYTES)}"]
    steps, unrolled = joined(in_channels, out_channels, inputs)
    columns["steps"], columns["unrolled"] = _log(np.where(concat, steps, 0.0)), (concat & unrolled).astype(np.float64)
    looped = np.where(concat & ~unrolled, steps, 0.0)
    terms = [
        np.ones(len(op)),
        work * (1 - constant),
        work * constant,
        moved_in,
        moved_out,
        weights,
        reduction,
        out_slices,
        in_slices * pixels,
        in_side**2,
        looped,
        looped * pixels,
        np.where(concat & unrolled, out_slices, 0.0),
    ]
    for launch in launches(out_side, out_slices):
        columns[f"{launch.name}_threads"] = _log(launch.threads)
        columns[f"{launch.name}_padding"] = launch.padding
        columns[f"{launch.name}_block"] = _log(launch.block)
        if launch.name in ("waves512", "slices8"):
            generic = launch.threads * reduction * (1 - constant)
            terms += [np.where(launch.block == size, generic, 0.0) for size in (1, 2, 4, 8)]
    return OperatorTable(
        family=family,
        terms=np.column_stack(terms),
        features=np.column_stack(list(columns.values())),
        names=tuple(columns),
    )


def op_is(op: Strings, part: str) -> np.ndarray:
    """Whether the operator's name has this in it."""
    found: np.ndarray = np.char.find(np.char.lower(op), part) >= 0
    return found


def _filled(values: Vector, otherwise: float | Vector) -> Vector:
    return np.where(np.isfinite(values) & (values > 0), values, otherwise)


def _log(values: Vector) -> Vector:
    logs: Vector = np.log2(np.maximum(values, 0.5))
    return logs
