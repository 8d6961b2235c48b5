"""Blocks around depthwise convolutions."""

from __future__ import annotations

from autotune.datasets.drawn.layers import Block, Setting, activated, multiple, residual, squeezed
from autotune.datasets.drawn.sketch import Sketch


def separable(s: Sketch, x: str, at: Setting) -> str:
    """MobileNetV1: depthwise, then 1×1."""
    y = activated(s, _depthwise(s, x, at.stage.window, at.stride), at.activation)
    return activated(s, s.conv(y, at.width, 1), at.activation)


def inverted(s: Sketch, x: str, at: Setting) -> str:
    """MobileNetV2 and V3, EfficientNet: 1×1 to more channels, depthwise, 1×1 to fewer, a shortcut."""
    inner = multiple(s.shapes[x][1] * at.stage.expand, 8 if s.shapes[x][1] % 8 == 0 else 1)
    y = activated(s, s.conv(x, inner, 1), at.activation) if at.stage.expand > 1 else x
    y = activated(s, _depthwise(s, y, at.stage.window, at.stride), at.activation)
    y = squeezed(s, y, multiple(s.shapes[x][1] / 4, 1)) if at.stage.squeeze else y
    return residual(s, x, s.conv(y, at.width, 1))


def shuffle(s: Sketch, x: str, at: Setting) -> str:
    """ShuffleNetV2: half of the channels pass, the other half is worked on, then they are interleaved."""
    half = at.width // 2
    if at.stride == 2 or s.shapes[x][1] != at.width:
        left = s.same("Relu", s.conv(_depthwise(s, x, 3, at.stride), half, 1))
        right = s.same("Relu", s.conv(x, half, 1))
    else:
        left, right = s.split(x, (half, half))
        right = s.same("Relu", s.conv(right, half, 1))
    stride = at.stride if s.shapes[left][2:] != s.shapes[right][2:] else 1
    right = s.same("Relu", s.conv(_depthwise(s, right, 3, stride), half, 1))
    joined = s.concat([left, right])
    batch, channels, high, wide = s.shapes[joined]
    apart = s.reshape(joined, batch, 2, channels // 2, high, wide)
    return s.reshape(s.transpose(apart, 0, 2, 1, 3, 4), batch, channels, high, wide)


def ghost(s: Sketch, x: str, at: Setting) -> str:
    """GhostNet: half of the channels by 1×1, the others from them by a cheap depthwise convolution."""
    x = _depthwise(s, x, 3, 2) if at.stride == 2 else x
    half = s.same("Relu", s.conv(x, at.width // 2, 1))
    return s.concat([half, s.same("Relu", _depthwise(s, half, 3, 1))])


def convnext(s: Sketch, x: str, at: Setting) -> str:
    """ConvNeXt: depthwise 7×7, layer normalisation and two products over channels, channels last between them."""
    if at.stride == 2 or s.shapes[x][1] != at.width:
        batch, channels, high, wide = s.shapes[x]
        even = s.layer_norm(s.transpose(x, 0, 2, 3, 1))
        x = s.op(
            "Conv",
            (s.transpose(even, 0, 3, 1, 2), s.weight(at.width, channels, 2, 2), s.weight(at.width)),
            (batch, at.width, high // 2, wide // 2),
            kernel_shape=[2, 2],
            strides=[2, 2],
        )
    y = s.transpose(_depthwise(s, x, at.stage.window, 1), 0, 2, 3, 1)
    y = activated(s, s.dense(s.layer_norm(y), multiple(at.width * at.stage.expand, 1)), "gelu")
    y = s.same("Mul", s.dense(y, at.width), s.weight(at.width))
    return s.same("Add", s.transpose(y, 0, 3, 1, 2), x)


def _depthwise(s: Sketch, x: str, window: int, stride: int) -> str:
    channels = s.shapes[x][1]
    return s.conv(x, channels, window, stride=stride, groups=channels)


BLOCKS: dict[str, Block] = {
    "separable": separable,
    "inverted": inverted,
    "shuffle": shuffle,
    "ghost": ghost,
    "convnext": convnext,
}
