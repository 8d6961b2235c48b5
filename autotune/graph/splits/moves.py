"""Rules of operators that only move data: Transpose, Reshape and its kin, Concat."""

from __future__ import annotations

import math

import numpy as np

from autotune.graph.splits.region import Op, Part, Region


def transpose(op: Op, region: Region) -> Part:
    """Transpose: the same range along the axis that went there."""
    rank = len(op.output)
    order = op.numbers("perm", list(range(rank))[::-1])
    return Part(needs=(Region(axis=order[region.axis], start=region.start, stop=region.stop),))


def reshape(op: Op, region: Region) -> Part:
    """Reshape, Flatten, Squeeze, Unsqueeze: where the range is one of the input, too.

    An axis of the output and one of the input hold the same elements in the same order if as many elements lie before
    one index of each; a head of `width` columns is one index on one side and `width` on the other.
    """
    data = op.shape(0)
    before, inner = math.prod(op.output[: region.axis]), math.prod(op.output[region.axis + 1 :])
    for axis in range(len(data)):
        block = math.prod(data[axis + 1 :])
        first, last = region.start * inner, region.stop * inner
        if math.prod(data[:axis]) == before and data[axis] > 1 and not (first % block or last % block):
            need = Region(axis=axis, start=first // block, stop=last // block)
            break
    else:
        raise op.refusal(f"{region.start} to {region.stop} of axis {region.axis} is no range of its input {data}")
    rest = [None] * (len(op.shapes) - 1)
    if op.node.op_type != "Reshape":
        return Part(needs=(need, *rest))
    return Part(needs=(need, *rest), values={1: np.array(region.of(op.output), np.int64)})


def flatten(op: Op, region: Region) -> Part:
    """Flatten keeps its `axis`, so the range must stay on the side where it was."""
    part = reshape(op, region)
    need, border = part.needs[0], op.number("axis", 1) % (len(op.shape(0)) + 1)
    if need is None or (need.axis < border) != (region.axis == 0):
        raise op.refusal("the range would cross the axis where it flattens")
    return part


def split(op: Op, region: Region) -> Part:
    """Split: along other axes than the one that it cuts."""
    if region.axis == op.number("axis", 0) % len(op.output):
        raise op.refusal("it cuts the axis along which it would be divided")
    return Part(needs=(region, *[None] * (len(op.shapes) - 1)))


def concat(op: Op, region: Region) -> Part:
    """Concat: along other axes than the one that it joins."""
    if region.axis == op.number("axis", 0) % len(op.output):
        raise op.refusal("it joins along the axis along which it would be divided")
    return Part(needs=tuple(region for _ in op.shapes))
