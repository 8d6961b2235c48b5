"""Random inputs that a model accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from autotune.core import STAND_INS, TensorSpec
from autotune.graph.normal import normal
from autotune.graph.operators import attribute

if TYPE_CHECKING:
    from autotune.graph.graph import Graph

DEFAULT_HIGH = 2
TRANSPARENT = {
    "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Transpose", "Expand", "Concat", "Clip",
}  # fmt: skip
"""Operators that hand indices on without making them larger."""


def random_inputs(
    specs: Sequence[TensorSpec], *, seed: int, high: Mapping[str, int] | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """One random sample: floats standard normal, integers from 0 below `high`, booleans, digits as strings.

    Args:
        specs: the inputs; unknown dimensions become 1.
        seed: of the values.
        high: exclusive upper bounds of integer inputs by name; 2 for those not named.
    """
    rng = np.random.default_rng(seed)
    return {spec.name: np.asarray(_values(spec, rng, (high or {}).get(spec.name, DEFAULT_HIGH))) for spec in specs}


def _values(spec: TensorSpec, rng: np.random.Generator, high: int) -> np.ndarray[Any, Any]:
    shape = tuple(max(dim, 1) if dim < 0 else dim for dim in spec.shape or ())
    if spec.dtype == "bool":
        return rng.random(shape) < 0.5
    if spec.dtype == "string":
        return rng.integers(0, 10, shape).astype(str).astype(object)
    if "int" in spec.dtype:
        return rng.integers(0, max(1, high), shape).astype(_numpy_type(spec.dtype))
    drawn = normal(shape, rng)
    if spec.dtype.startswith("complex"):
        return np.asarray(drawn + 1j * rng.standard_normal(shape), dtype=spec.dtype)
    return np.asarray(drawn).astype(_numpy_type(spec.dtype))


def _numpy_type(dtype: str) -> Any:
    if dtype in STAND_INS:
        import ml_dtypes

        return getattr(ml_dtypes, dtype)
    return np.dtype(dtype)


def embedding_limits(graph: Graph) -> dict[str, int]:
    """Exclusive upper bounds of integer inputs that index a table."""
    model = graph.model.graph
    tables = {spec.name: spec.shape for spec in graph.specs.values() if spec.is_static and spec.shape}
    found: dict[str, int] = {}
    for spec in graph.inputs:
        if "int" in spec.dtype:
            limit = _limit({spec.name}, model.node, tables)
            if limit is not None:
                found[spec.name] = limit
    return found


def _limit(carriers: set[str], nodes: Sequence[onnx.NodeProto], tables: Mapping[str, tuple[int, ...]]) -> int | None:
    limits = []
    for node in nodes:
        if node.op_type in ("Gather", "GatherElements") and node.input[1] in carriers and node.input[0] in tables:
            axis = attribute(node, "axis", 0)
            limits.append(tables[node.input[0]][axis if isinstance(axis, int) else 0])
        elif node.op_type == "GatherND" and node.input[1] in carriers and node.input[0] in tables:
            first = attribute(node, "batch_dims", 0)
            depth = tables.get(node.input[1], (1,))[-1]
            limits += tables[node.input[0]][first if isinstance(first, int) else 0 :][:depth]
        elif node.op_type in TRANSPARENT and carriers & set(node.input):
            carriers |= set(node.output)
    return min(limits, default=None)
