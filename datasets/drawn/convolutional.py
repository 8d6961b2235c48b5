"""Blocks of classification networks: dense, grouped and residual convolutions."""

from __future__ import annotations

from autotune.datasets.drawn.layers import (
    Block,
    Setting,
    activated,
    batch_norm,
    group_norm,
    multiple,
    residual,
    squeezed,
)
from autotune.datasets.drawn.sketch import Sketch


def plain(s: Sketch, x: str, at: Setting) -> str:
    """VGG: a convolution; a stage ends with a pool."""
    x = s.pool("MaxPool", x, 2, 2) if at.stride == 2 else x
    return activated(s, s.conv(x, at.width), at.activation)


def basic(s: Sketch, x: str, at: Setting) -> str:
    """ResNet-18: two 3×3 convolutions beside a shortcut."""
    y = activated(s, s.conv(x, at.width, stride=at.stride), at.activation)
    y = s.conv(y, at.width)
    return activated(s, s.same("Add", y, _shortcut(s, x, at)), at.activation)


def bottleneck(s: Sketch, x: str, at: Setting) -> str:
    """ResNet-50, ResNeXt, RegNet: 1×1, 3×3 (in groups), 1×1."""
    inner, group = at.inner, at.stage.group
    y = activated(s, s.conv(x, inner, 1), at.activation)
    y = activated(s, s.conv(y, inner, stride=at.stride, groups=inner // group if group else 1), at.activation)
    y = squeezed(s, y, multiple(s.shapes[x][1] / 4, 1)) if at.stage.squeeze else y
    y = s.conv(y, at.width, 1)
    return activated(s, s.same("Add", y, _shortcut(s, x, at)), at.activation)


def _shortcut(s: Sketch, x: str, at: Setting) -> str:
    return x if at.stride == 1 and s.shapes[x][1] == at.width else s.conv(x, at.width, 1, stride=at.stride)


def darknet(s: Sketch, x: str, at: Setting) -> str:
    """Darknet: 1×1 to half the width, 3×3 back."""
    if at.stride == 2 or s.shapes[x][1] != at.width:
        return activated(s, s.conv(x, at.width, stride=at.stride), at.activation)
    y = activated(s, s.conv(x, at.inner, 1), at.activation)
    return s.same("Add", activated(s, s.conv(y, at.width), at.activation), x)


def dense(s: Sketch, x: str, at: Setting) -> str:
    """DenseNet: normalisation first, what is made is joined to what was there; a stage begins by halving."""
    if at.stride == 2:
        y = s.conv(s.same("Relu", batch_norm(s, x)), at.width // 2, 1)
        return s.pool("AveragePool", y, 2, 2)
    growth = int(at.stage.expand)
    y = s.conv(s.same("Relu", batch_norm(s, x)), 4 * growth, 1)
    return s.concat([x, s.conv(s.same("Relu", y), growth)])


def fire(s: Sketch, x: str, at: Setting) -> str:
    """SqueezeNet: few channels, then 1×1 and 3×3 side by side."""
    x = s.pool("MaxPool", x, 3, 2) if at.stride == 2 else x
    few = s.same("Relu", s.conv(x, multiple(at.width / 8, 1), 1))
    half = at.width // 2
    return s.concat([s.same("Relu", s.conv(few, half, 1)), s.same("Relu", s.conv(few, half))])


def inception(s: Sketch, x: str, at: Setting) -> str:
    """Inception: windows of several forms side by side."""
    quarter = multiple(at.width / 4, 8)
    side = at.rng.choice((3, 5, 7))
    one = s.same("Relu", s.conv(x, quarter, 1, stride=at.stride))
    two = s.same("Relu", s.conv(x, multiple(quarter * 0.75, 8), 1))
    if side == 7:
        two = s.same("Relu", s.conv(two, quarter, (1, 7)))
        two = s.same("Relu", s.conv(two, quarter, (7, 1), stride=at.stride))
    else:
        two = s.same("Relu", s.conv(two, quarter, side, stride=at.stride))
    three = s.pool("AveragePool" if at.stride == 1 else "MaxPool", x, 3, at.stride)
    return s.concat([one, two, s.same("Relu", s.conv(three, quarter, 1))])


def partial(s: Sketch, x: str, at: Setting) -> str:
    """YOLO's C2f: half of the channels go through further convolutions, everything is joined."""
    if at.stride == 2:
        x = activated(s, s.conv(x, at.width, stride=2), at.activation)
    half = at.width // 2
    first, last = s.split(activated(s, s.conv(x, 2 * half, 1), at.activation), (half, half))
    parts = [first, last]
    for _ in range(at.rng.choice((1, 1, 2, 3))):
        y = activated(s, s.conv(parts[-1], half), at.activation)
        y = activated(s, s.conv(y, half), at.activation)
        parts.append(residual(s, parts[-1], y))
    return activated(s, s.conv(s.concat(parts), at.width, 1), at.activation)


def fused(s: Sketch, x: str, at: Setting) -> str:
    """EfficientNetV2: 3×3 to more channels, 1×1 back."""
    y = activated(s, s.conv(x, multiple(s.shapes[x][1] * at.stage.expand, 1), stride=at.stride), at.activation)
    return residual(s, x, s.conv(y, at.width, 1)) if at.stage.expand > 1 else y


def normed(s: Sketch, x: str, at: Setting) -> str:
    """A diffusion network's block: group normalisation, SiLU, 3×3."""
    x = s.conv(x, at.width, stride=at.stride) if at.stride == 2 or s.shapes[x][1] != at.width else x
    y = group_norm(s, x, 32 if at.width % 32 == 0 else 8)
    return residual(s, x, s.conv(activated(s, y, "silu"), at.width))


BLOCKS: dict[str, Block] = {
    "plain": plain,
    "basic": basic,
    "bottleneck": bottleneck,
    "darknet": darknet,
    "dense": dense,
    "fire": fire,
    "inception": inception,
    "partial": partial,
    "fused": fused,
    "normed": normed,
}
