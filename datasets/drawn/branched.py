"""Blocks with several branches: what is split, pooled and joined between convolutions."""

from __future__ import annotations

from autotune.datasets.drawn.layers import Block, Setting, activated, multiple, residual
from autotune.datasets.drawn.pictures import resized
from autotune.datasets.drawn.sketch import Sketch

SCALES = 4
"""Parts of Res2Net's channels."""
LAYERS = 5
"""Convolutions whose outputs VoVNet joins."""


def multiscale(s: Sketch, x: str, at: Setting) -> str:
    """Res2Net: the bottleneck's channels in parts, each convolved with what came of the part before."""
    part = multiple(at.width * at.stage.expand / SCALES, 1)
    first, *others = s.split(activated(s, s.conv(x, SCALES * part, 1), at.activation), (part,) * SCALES)
    made = [s.pool("AveragePool", first, 3, 2) if at.stride == 2 else first]
    for one in others:
        beside = one if at.stride == 2 or len(made) == 1 else s.same("Add", one, made[-1])
        made.append(activated(s, s.conv(beside, part, stride=at.stride), at.activation))
    y = s.conv(s.concat(made), at.width, 1)
    return activated(s, residual(s, x, y), at.activation)


def aggregated(s: Sketch, x: str, at: Setting) -> str:
    """VoVNet: a row of convolutions, of which all outputs are joined."""
    parts, inner = [s.pool("MaxPool", x, 3, 2) if at.stride == 2 else x], multiple(at.width * at.stage.expand, 8)
    for _ in range(LAYERS):
        parts.append(activated(s, s.conv(parts[-1], inner), at.activation))
    return activated(s, s.conv(s.concat(parts), at.width, 1), at.activation)


def searched(s: Sketch, x: str, at: Setting) -> str:
    """NAS-Bench-201: nodes that sum 1×1 and 3×3 convolutions, average pools and what passes unchanged."""
    if at.stride == 2 or s.shapes[x][1] != at.width:
        return s.same("Relu", s.conv(x, at.width, stride=at.stride))
    nodes = [x]
    for _ in range(3):
        made = [_operation(s, node, at) for node in nodes]
        total = made[0]
        for one in made[1:]:
            total = s.same("Add", total, one)
        nodes.append(total)
    return nodes[-1]


def _operation(s: Sketch, x: str, at: Setting) -> str:
    kind = at.rng.choice(("conv", "conv", "pool", "skip"))
    if kind == "conv":
        return s.conv(s.same("Relu", x), at.width, at.rng.choice((1, 3)))
    return s.pool("AveragePool", x, 3, 1) if kind == "pool" else x


def cell(s: Sketch, x: str, at: Setting) -> str:
    """NASNet: separable convolutions and pools side by side, in pairs that are summed, all sums joined."""
    inner = multiple(at.width * at.stage.expand, 1)
    x = s.conv(s.same("Relu", x), inner, 1)
    pairs = [[_part(s, x, inner, at) for _ in range(2)] for _ in range(at.rng.choice((4, 5)))]
    return s.concat([s.same("Add", *pair) if pair[0] != pair[1] else pair[0] for pair in pairs])


def _part(s: Sketch, x: str, inner: int, at: Setting) -> str:
    kind = at.rng.choice(("separable", "separable", "AveragePool", "MaxPool", "skip"))
    if kind == "skip" and at.stride == 1:
        return x
    if kind.endswith("Pool"):
        return s.pool(kind, x, 3, at.stride)
    y = s.conv(s.same("Relu", x), inner, at.rng.choice((3, 3, 5, 7)), stride=at.stride, groups=inner)
    return s.conv(y, inner, 1)


def pooled(s: Sketch, x: str, at: Setting) -> str:
    """Spatial pyramid pooling: the same map through pools of several windows, joined."""
    few = activated(s, s.conv(x, multiple(at.width / 2, 1), 1), at.activation)
    joined = s.concat([s.pool("MaxPool", few, window, 1) for window in (13, 9, 5)] + [few])
    return activated(s, s.conv(joined, at.width, 1), at.activation)


def neck(s: Sketch, x: str, at: Setting) -> str:
    """YOLOv3: the coarse map made narrow, resized, joined to the fine one."""
    up = resized(s, activated(s, s.conv(x, multiple(at.width / 2, 1), 1), at.activation), linear=False)
    batch, _, high, wide = s.shapes[up]
    y = activated(s, s.conv(s.concat([up, s.input(batch, at.width, high, wide)]), at.width // 2, 1), at.activation)
    return activated(s, s.conv(y, at.width), at.activation)


BLOCKS: dict[str, Block] = {
    "multiscale": multiscale,
    "aggregated": aggregated,
    "searched": searched,
    "cell": cell,
    "pooled": pooled,
    "neck": neck,
}
