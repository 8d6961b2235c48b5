"""Pooling whose size ONNX's shape inference and ONNX Runtime do not agree on, in a form that leaves no doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper

POOLS = ("MaxPool", "AveragePool", "LpPool")


def settle_pools(model: onnx.ModelProto) -> bool:
    """Rewrites pools with `ceil_mode` whose last window would start in the padding at the end; whether there were any.

    ONNX Runtime leaves that window out (`PoolAttributes::ComputeOutputSize`), shape inference counts it, and a stage
    that declares the inferred shape refuses what the stage before it gives.

    Args:
        model: with inferred shapes; changed in place.
    """
    shapes = {info.name: _dims(info) for info in (*model.graph.input, *model.graph.value_info)}
    found = False
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute} if node.op_type in POOLS else {}
        plane = shapes.get(node.input[0], ())[2:] if attributes else ()
        if attributes.get("ceil_mode") and plane and min(plane) > 0 and _settle(node, attributes, plane):
            found = True
    return found


def _dims(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)


def _settle(node: onnx.NodeProto, attributes: Mapping[str, Any], plane: Sequence[int]) -> bool:
    """One pool with explicit padding and no dilation; whether it was changed."""
    count = len(plane)
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or any(d != 1 for d in attributes.get("dilations", ())):
        return False
    sizes, strides = attributes["kernel_shape"], attributes.get("strides") or [1] * count
    pads = list(attributes.get("pads") or [0] * 2 * count)
    dropped, longer = False, False
    for at, (length, size, stride) in enumerate(zip(plane, sizes, strides, strict=True)):
        begin, end = pads[at], pads[at + count]
        windows = -(-(length + begin + end - size) // stride) + 1
        if (windows - 1) * stride >= length + begin:
            windows, dropped = windows - 1, True
        longer |= windows > (length + begin + end - size) // stride + 1
        pads[at + count] = max(0, (windows - 1) * stride + size - length - begin)
    if not dropped or (longer and node.op_type != "MaxPool"):  # averages count padding, so that it cannot change
        return False
    changed = {"ceil_mode": 0} | ({"pads": pads} if longer else {})
    kept = [attribute for attribute in node.attribute if attribute.name not in changed]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in changed.items())])
    return True
