"""SqueezeNet 1.1 (Iandola et al., 2016)."""

from __future__ import annotations

import onnx

from autotune.models.builder import Builder

FIRES = ((64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128), (256, 48, 192), (384, 48, 192), (384, 64, 256),
         (512, 64, 256))  # fmt: skip
"""Channels in, squeezed, and of each expansion."""
POOL_BEFORE = (0, 2, 4)


def _fire(b: Builder, x: str, inner: int, squeezed: int, expanded: int) -> str:
    s = b.relu(b.conv(x, inner, squeezed, 1))
    left = b.relu(b.conv(s, squeezed, expanded, 1))
    right = b.relu(b.conv(s, squeezed, expanded, 3))
    return b.op("Concat", [left, right], axis=1)


def build(*, size: int = 224, seed: int = 0) -> onnx.ModelProto:
    """SqueezeNet 1.1: `images` [batch, 3, size, size] -> `output` [batch, 1000]."""
    b = Builder("squeezenet", seed=seed)
    x = b.relu(b.conv("images", 3, 64, 3, stride=2, pad=0))
    for at, (inner, squeezed, expanded) in enumerate(FIRES):
        if at in POOL_BEFORE:
            x = b.op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        x = _fire(b, x, inner, squeezed, expanded)
    x = b.relu(b.conv(x, 512, 1000, 1))
    x = b.op("Flatten", [b.op("GlobalAveragePool", [x])])
    return b.vision(size, x, ("batch", 1000))
