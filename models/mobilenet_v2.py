"""MobileNetV2 (Sandler et al., Inverted Residuals and Linear Bottlenecks, 2018)."""

from __future__ import annotations

import numpy as np
import onnx

from autotune.models.builder import Builder

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats, stride of the first."""
RESIDUAL_SCALE = 0.5


def _unit(b: Builder, x: str, inner: int, outer: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> str:
    y = b.conv(x, inner, outer, kernel, stride=stride, groups=groups, bias=False)
    y = b.batch_norm(y, outer)
    return b.op("Clip", [y, b.constant(np.float32(0)), b.constant(np.float32(6))])


def _block(b: Builder, x: str, inner: int, outer: int, *, expansion: int, stride: int) -> str:
    hidden = inner * expansion
    y = _unit(b, x, inner, hidden) if expansion != 1 else x
    y = _unit(b, y, hidden, hidden, 3, stride=stride, groups=hidden)
    residual = stride == 1 and inner == outer
    y = b.conv(y, hidden, outer, 1, bias=False, gain=1.0)
    y = b.batch_norm(y, outer, scale=RESIDUAL_SCALE if residual else 1.0)
    return b.op("Add", [x, y]) if residual else y


def build(*, size: int = 224, seed: int = 0) -> onnx.ModelProto:
    """MobileNetV2 at width 1.0: `images` [batch, 3, size, size] -> `output` [batch, 1000]."""
    b = Builder("mobilenet_v2", seed=seed)
    x = _unit(b, "images", 3, 32, 3, stride=2)
    inner = 32
    for expansion, outer, repeats, stride in BLOCKS:
        for at in range(repeats):
            x = _block(b, x, inner, outer, expansion=expansion, stride=stride if at == 0 else 1)
            inner = outer
    x = _unit(b, x, inner, 1280)
    x = b.op("Flatten", [b.op("GlobalAveragePool", [x])])
    return b.vision(size, b.linear(x, 1280, 1000, gain=4.0), ("batch", 1000))
