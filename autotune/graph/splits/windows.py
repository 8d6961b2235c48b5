"""Rules of operators that slide a window: convolutions by channels and by height with their halo, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.graph.splits.region import Op, Part, Region


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """A window along one axis, padding explicit."""

    size: int
    stride: int
    dilation: int
    begin: int
    end: int

    @property
    def reach(self) -> int:
        """Indices from the first to the last that it touches."""
        return (self.size - 1) * self.dilation + 1


def convolution(op: Op, region: Region) -> Part:
    """Conv: by samples, by output channels (whole groups), or along a spatial axis."""
    data, weight = op.shape(0), op.shape(1)
    bias = len(op.shapes) > 2
    if region.axis == 0:
        return Part(needs=(region, *[None] * (len(op.shapes) - 1)))
    if region.axis > 1:
        need, pads = _slide(op, region, data, weight[2:])
        return Part(needs=(need, *[None] * (len(op.shapes) - 1)), attributes={"pads": pads, "auto_pad": "NOTSET"})
    own = Region(axis=0, start=region.start, stop=region.stop)
    weights = (own, own) if bias else (own,)
    groups = op.number("group", 1)
    if groups == 1:
        return Part(needs=(None, *weights))
    made = weight[0] // groups
    if region.start % made or region.stop % made:
        raise op.refusal(f"output channels {region.start} to {region.stop} are no whole groups of {made}")
    first, last = region.start // made, region.stop // made
    channels = Region(axis=1, start=first * weight[1], stop=last * weight[1])
    return Part(needs=(channels, *weights), attributes={"group": last - first})


def pooling(op: Op, region: Region) -> Part:
    """MaxPool, AveragePool, LpPool: by samples, by channels, or along a spatial axis."""
    data = op.shape(0)
    if region.axis < 2:
        return Part(needs=(region,))
    size = op.numbers("kernel_shape", ())
    need, pads = _slide(op, region, data, size)
    at, spatial = region.axis - 2, len(data) - 2
    if max(pads[at], pads[at + spatial]) >= size[at]:
        raise op.refusal("a window would lie in the padding alone")
    if op.number("ceil_mode", 0) and op.node.op_type != "MaxPool":
        raise op.refusal("its windows reach over the end (ceil_mode), which changes the averages")
    return Part(needs=(need,), attributes={"pads": pads, "auto_pad": "NOTSET", "ceil_mode": 0})


def global_pooling(op: Op, region: Region) -> Part:
    """GlobalAveragePool and the like: by samples and channels."""
    if region.axis > 1:
        raise op.refusal("it reduces the axis along which it would be divided")
    return Part(needs=(region,))


def _slide(op: Op, region: Region, data: Sequence[int], sizes: Sequence[int]) -> tuple[Region, list[int]]:
    """Input indices that an output range needs, halo included, and the padding that remains at both ends of all axes.

    Output y needs inputs y·stride − pad to y·stride − pad + (size − 1)·dilation; what lies outside the tensor becomes
    padding of the part.
    """
    windows = _windows(op, data[2:], sizes)
    at = region.axis - 2
    window, length = windows[at], data[region.axis]
    first = region.start * window.stride - window.begin
    last = (region.stop - 1) * window.stride - window.begin + window.reach
    if first >= length or last <= 0:
        raise op.refusal(f"its part {region.start} to {region.stop} would see padding only")
    begins = [w.begin for w in windows]
    ends = [w.end for w in windows]
    begins[at], ends[at] = max(0, -first), max(0, last - length)
    need = Region(axis=region.axis, start=max(0, first), stop=min(length, last))
    return need, [*begins, *ends]


def _windows(op: Op, data: Sequence[int], sizes: Sequence[int]) -> list[_Window]:
    count = len(data)
    if len(sizes) != count:
        raise op.refusal(f"its window {list(sizes)} does not fit {count} spatial axes")
    strides, dilations = op.numbers("strides", [1] * count), op.numbers("dilations", [1] * count)
    pads = op.numbers("pads", [0] * (2 * count))
    same = op.text("auto_pad", "NOTSET")
    windows = []
    for at in range(count):
        begin, end = pads[at], pads[at + count]
        if same == "VALID":
            begin = end = 0
        elif same.startswith("SAME"):
            reach = (sizes[at] - 1) * dilations[at] + 1
            total = max(0, (op.output[at + 2] - 1) * strides[at] + reach - data[at])
            begin = total // 2 if same == "SAME_UPPER" else total - total // 2
            end = total - begin
        windows.append(_Window(size=sizes[at], stride=strides[at], dilation=dilations[at], begin=begin, end=end))
    return windows
