"""Features of operators of a whole graph on a phone (HOPE's tables): shapes, and what stands before and after.

MNN keeps activations in slices of four channels (NC4HW4); what other operators need is converted first, and a
conversion into slices is several times faster than one out of them. Which it is shows only in the neighbours and in
the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from autotune.errors import InputError
from autotune.predictor.tables.operators import Mask, OperatorTable, Strings, Vector

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "model", "device", "op_name", "op_type", "graph_index", "preds", "in_shapes", "kh", "kw", "in_c", "in_h", "in_w",
    "out_c", "out_h", "out_w",
)  # fmt: skip
KINDS = ("conv", "pool", "relu", "binary", "eltwise", "concat", "convert", "slice", "pad", "const", "other")
"""Kinds of neighbours; the name of an operator that the table lacks tells its kind less surely."""
_PARTS_OF_NAMES = (
    ("conv", ("conv", "separable", "biasadd", "1x1", "3x3", "5x5", "7x7")), ("pool", ("pool",)), ("relu", ("relu",)),
    ("concat", ("concat",)), ("convert", ("convert", "___tr4")), ("slice", ("slice", "gather", "crop")),
    ("pad", ("pad",)), ("const", ("const", "shape", "/y")), ("binary", ("binary", "mul", "sub")),
    ("eltwise", ("eltwise", "add")),
)  # fmt: skip
OWN_FAMILY = ("Deconvolution",)
"""Kinds that are no rare operators, however few there are: they compute, the rare ones move data."""
MIN_OF_FAMILY = 60
"""Rows of one kind, over all phones, that are learnt from; under it the kind counts as rare."""
TAPS_OF_TRANSPOSED = 4.0
"""Of each output of a transposed convolution, whose window is not listed: it is usually twice the stride wide."""
_UNITS, _SIDES, _AT_ONCE = range(2, 9), (4, 6, 8), 8
"""Outputs along a side, inputs along a side, and tiles at once: of MNN's Winograd convolutions."""


def phone_graph_table(rows: pd.DataFrame) -> OperatorTable:
    """Features of n operators.

    Args:
        rows: with `COLUMNS`, several phones and models in one table.

    Raises:
        InputError: a column is missing.
    """
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise InputError(f"the table of operators lacks the columns {', '.join(missing)}")
    size = {name: np.maximum(rows[name].fillna(1).to_numpy(dtype=np.float64), 1) for name in COLUMNS[7:]}
    shapes = [elements(text) for text in rows["in_shapes"]]
    read = np.array([sum(found) for found in shapes], dtype=np.float64)
    kind = rows["op_type"].to_numpy(dtype=str)
    dense, depthwise, transposed = (kind == name for name in ("Convolution", "ConvolutionDepthwise", "Deconvolution"))
    pixels = size["out_h"] * size["out_w"]
    written = pixels * size["out_c"]
    stride = np.where((size["out_h"] > 1) & (size["in_h"] > 1), np.round(size["in_h"] / size["out_h"]), 1.0)
    for axis in "hw":
        needed = np.where(dense, _least_window(size[f"in_{axis}"], size[f"out_{axis}"], stride), 1.0)
        size[f"k{axis}"] = np.maximum(size[f"k{axis}"], needed)
    in_slices, out_slices, area = np.ceil(size["in_c"] / 4), np.ceil(size["out_c"] / 4), size["kh"] * size["kw"]
    taps = np.where(transposed, TAPS_OF_TRANSPOSED, area)
    per_output = np.select(
        [dense | transposed, depthwise | (kind == "Pooling")], [16 * in_slices * taps, 4 * taps], default=0.0
    )
    work = pixels * out_slices * per_output
    weights = np.where(dense | depthwise, out_slices * per_output, 0.0)
    unit = np.where(dense & (size["kh"] == size["kw"]) & (stride == 1), _winograd_unit(size), 0.0)
    winograd = unit > 0
    side = np.maximum(unit, 1.0)
    waste: Vector = np.ceil(size["out_h"] / side) * side / size["out_h"]
    tiles = np.ceil(size["out_h"] / side) * np.ceil(size["out_w"] / side)
    family = kind.astype("<U24")
    family[dense] = np.where(area == 1, "conv1", np.where(winograd, "conv_winograd", "convn"))[dense]
    columns: dict[str, Vector] = {
        "op": np.unique(kind, return_inverse=True)[1].astype(np.float64), "inputs": np.array([len(s) for s in shapes]),
        "read": _log(read), "written": _log(written), "in_c": _log(size["in_c"]), "out_c": _log(size["out_c"]),
        "in_h": _log(size["in_h"]), "in_w": _log(size["in_w"]), "out_h": _log(size["out_h"]),
        "out_w": _log(size["out_w"]), "pixels": _log(pixels), "kh": size["kh"], "kw": size["kw"], "stride": stride,
        "work": _log(work), "weights": _log(weights), "intensity": _log(work / (read + written + weights + 1)),
        "reduction": _log(in_slices * area), "winograd": winograd.astype(np.float64), "in_rest": size["in_c"] % 4,
        "out_rest": size["out_c"] % 4, "out_rest_16": size["out_c"] % 16, "outputs": _log(pixels * out_slices),
        "unit": unit, "tiles": _log(tiles), "waste": waste,
    }  # fmt: skip
    around = neighbours(rows)
    columns |= around
    into = (around["after_conv"] + around["after_pool"] + around["before_slice"] > 0) | (
        (around["after_concat"] > 0) & (around["before_binary"] > 0)
    )
    convert = kind == "ConvertTensor"
    family[convert] = np.where(into, "convert_in", "convert_out")[convert]
    for part in ("max", "avg"):
        named = rows["op_name"].astype(str).str.lower().str.contains(part, regex=False).to_numpy(dtype=bool)
        columns[f"named_{part}"] = named.astype(np.float64)
        family[(kind == "Pooling") & named] = f"pool_{part}"
    transformed = np.where(winograd, tiles * (side + size["kh"] - 1) ** 2, 0.0)
    terms = [
        np.ones(len(rows)), work, read, written, weights, transformed * in_slices * out_slices * 16,
        transformed * (size["in_c"] + size["out_c"]),
        np.where(dense | depthwise, 4 * in_slices * size["in_h"] * size["in_w"], 0.0),
    ]  # fmt: skip
    return OperatorTable(
        family=family,
        terms=np.column_stack(terms),
        features=np.column_stack(list(columns.values())).astype(np.float64),
        names=tuple(columns),
    )


def _winograd_unit(size: Mapping[str, Vector]) -> Vector:
    """[n] side of the outputs that MNN computes at once with Winograd's method; 0 where it takes no fewer products.

    Args:
        size: [n] each: `out_h`, `out_w`, `in_c`, `out_c` and `kh`, the side of the window.
    """
    window, into, out = size["kh"], size["in_c"], size["out_c"]
    most = np.clip(np.sqrt(np.ceil(size["out_h"] * size["out_w"] / _AT_ONCE)), _UNITS[0], _UNITS[-1])
    whole = size["out_h"] * size["out_w"] * into * out * window**2
    best, found = np.ones(len(window)), np.zeros(len(window))
    for unit in _UNITS:
        side = unit + window - 1
        each = 2 * side**2 * into + side**2 * into * out + 2 * side * unit * out
        saved = whole / (each * np.ceil(size["out_h"] / unit) * np.ceil(size["out_w"] / unit))
        better = (saved > best) & (unit <= most) & np.isin(side, _SIDES) & (window > 1)
        best, found = np.where(better, saved, best), np.where(better, float(unit), found)
    return found


def _least_window(into: Vector, out: Vector, stride: Vector) -> Vector:
    """[n] least odd window of which no more outputs fit in: names that windows were read off are wrong at times."""
    least = np.where(out > 1, np.maximum(into - out * stride + 1, 1.0), 1.0)
    found: Vector = 2 * np.floor(least / 2) + 1
    return found


def rare_joined(table: OperatorTable, known: Mask) -> OperatorTable:
    """The table with kinds of which few operators are known as one family, `rare`.

    Args:
        table: of n operators, from `phone_graph_table`.
        known: [n] those that are learnt from; no others are counted.
    """
    names, counts = np.unique(table.family[known], return_counts=True)
    common = np.isin(table.family, [*names[counts >= MIN_OF_FAMILY], *OWN_FAMILY])
    return replace(table, family=np.where(common, table.family, "rare"))


def neighbours(rows: pd.DataFrame) -> dict[str, Vector]:
    """How many neighbours of each kind feed an operator and take its output.

    An operator that the table lacks is taken for what its consumer's name says: `A___tr4B` converts A's output for B.
    """
    places = list(zip(rows["device"], rows["model"], strict=True))
    index = rows["graph_index"].fillna(-1).to_numpy(dtype=np.int64)
    kinds = [
        kind_of(kind, name) for kind, name in zip(rows["op_type"].astype(str), rows["op_name"].astype(str), strict=True)
    ]
    known = {(place, at): row for row, (place, at) in enumerate(zip(places, index.tolist(), strict=True)) if at >= 0}
    before, after = (np.zeros((len(rows), len(KINDS))) for _ in range(2))
    for row, (place, listed, name) in enumerate(zip(places, rows["preds"], rows["op_name"].astype(str), strict=True)):
        for text in str(listed).split(","):
            if not text.strip().isdigit():
                continue
            source = known.get((place, int(text)))
            if source is None:
                hint = name.partition("___tr4")[0] if "___tr4" in name else ""
                before[row, KINDS.index(kind_of("", hint))] += 1
            else:
                before[row, KINDS.index(kinds[source])] += 1
                after[source, KINDS.index(kinds[row])] += 1
        if "___tr4" in name and not after[row].any():
            after[row, KINDS.index(kind_of("", name.partition("___tr4")[2]))] += 1
    found = {f"before_{kind}": before[:, at] for at, kind in enumerate(KINDS)}
    return found | {f"after_{kind}": after[:, at] for at, kind in enumerate(KINDS)}


def kind_of(op_type: str, name: str) -> str:
    """Kind of an operator by its type, else by the last part of its name."""
    for text in (op_type.lower(), name.rpartition("/")[2].lower() if not op_type else ""):
        for kind, parts in _PARTS_OF_NAMES:
            if any(part in text for part in ("convert",) if kind == "convert") or (
                kind != "convert" and "convert" not in text and any(part in text for part in parts)
            ):
                return kind
    return "other"


def elements(text: object) -> list[float]:
    """Elements of each input shape: `1,32,8,8;1,16,8,8`."""
    found = []
    for shape in str(text).split(";"):
        sizes = [max(float(size), 1.0) for size in shape.split(",") if size.strip().replace(".", "", 1).isdigit()]
        found += [float(np.prod(sizes))] if sizes else []
    return found


def _log(values: Vector) -> Vector:
    logs: Vector = np.log2(np.maximum(values, 0.5))
    return logs


__all__ = ["COLUMNS", "OperatorTable", "Strings", "kind_of", "neighbours", "phone_graph_table", "rare_joined"]
