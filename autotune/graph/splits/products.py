"""Rules of matrix products, normalisations and operators that work element by element."""

from __future__ import annotations

from autotune.graph.splits.region import Op, Part, Region


def elementwise(op: Op, region: Region) -> Part:
    """Whatever broadcasts its inputs and works element by element."""
    return Part(needs=tuple(op.broadcast(region, at) for at in range(len(op.shapes))))


def matmul(op: Op, region: Region) -> Part:
    """MatMul: by columns of the right side, by rows of the left side, or along a batch axis (attention's heads)."""
    left, right = op.shape(0), op.shape(1)
    if min(len(left), len(right)) < 2:
        raise op.refusal("one side is a vector")
    rank = len(op.output)
    if region.axis == rank - 1:
        return Part(needs=(None, Region(axis=len(right) - 1, start=region.start, stop=region.stop)))
    if region.axis == rank - 2:
        return Part(needs=(Region(axis=len(left) - 2, start=region.start, stop=region.stop), None))
    return elementwise(op, region)


def gemm(op: Op, region: Region) -> Part:
    """Gemm: by rows or columns of its output."""
    added = op.broadcast(region, 2) if len(op.shapes) > 2 else None
    rest = (added,) if len(op.shapes) > 2 else ()
    if region.axis == 0:
        axis = 1 if op.number("transA", 0) else 0
        return Part(needs=(Region(axis=axis, start=region.start, stop=region.stop), None, *rest))
    axis = 0 if op.number("transB", 0) else 1
    return Part(needs=(None, Region(axis=axis, start=region.start, stop=region.stop), *rest))


def softmax(op: Op, region: Region) -> Part:
    """Softmax: along any axis that it does not sum over (before opset 13 it sums over all from `axis` on)."""
    rank = len(op.output)
    axis = op.number("axis", -1 if op.opset >= 13 else 1) % rank
    summed = {axis} if op.opset >= 13 else set(range(axis, rank))
    if region.axis in summed:
        raise op.refusal("it sums over the axis along which it would be divided")
    return Part(needs=(region,))


def batch_normalisation(op: Op, region: Region) -> Part:
    """BatchNormalization: by channels its parameters are divided too."""
    own = Region(axis=0, start=region.start, stop=region.stop) if region.axis == 1 else None
    return Part(needs=(region, *[own] * (len(op.shapes) - 1)))


def instance_normalisation(op: Op, region: Region) -> Part:
    """InstanceNormalization: by samples or channels."""
    if region.axis > 1:
        raise op.refusal("it normalises over the axis along which it would be divided")
    return batch_normalisation(op, region)


def layer_normalisation(op: Op, region: Region) -> Part:
    """LayerNormalization: along axes before those that it normalises over."""
    if region.axis >= op.number("axis", -1) % len(op.output):
        raise op.refusal("it normalises over the axis along which it would be divided")
    return Part(needs=(region, *[op.broadcast(region, at) for at in range(1, len(op.shapes))]))


def reduction(op: Op, region: Region) -> Part:
    """ReduceMean and the like that keep their axes: along any axis that they do not reduce."""
    rank = len(op.shape(0))
    axes = op.numbers("axes", ())
    if len(op.shapes) > 1 and op.shapes[1] is not None:
        if 1 not in op.constants:
            raise op.refusal("its axes are computed")
        axes = [int(axis) for axis in op.constants[1].reshape(-1)]
    reduced = {axis % rank for axis in axes} or set(range(rank))
    if region.axis in reduced or not op.number("keepdims", 1):
        raise op.refusal("it reduces the axis along which it would be divided")
    return Part(needs=(region, *[None] * (len(op.shapes) - 1)))
