"""VGG-16 (Simonyan and Zisserman, Very Deep Convolutional Networks, 2014)."""

from __future__ import annotations

import onnx

from autotune.models.builder import Builder

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
HIDDEN = 4096


def build(*, size: int = 224, seed: int = 0) -> onnx.ModelProto:
    """VGG-16 for `size` a multiple of 32: `images` [batch, 3, size, size] -> `output` [batch, 1000]."""
    b = Builder("vgg16", seed=seed)
    x, inner = "images", 3
    for width, count in STAGES:
        for _ in range(count):
            x = b.relu(b.conv(x, inner, width, 3))
            inner = width
        x = b.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = b.op("Flatten", [x])
    x = b.relu(b.linear(x, inner * (size // 32) ** 2, HIDDEN, gain=2.0))
    x = b.relu(b.linear(x, HIDDEN, HIDDEN, gain=2.0))
    return b.vision(size, b.linear(x, HIDDEN, 1000), ("batch", 1000))
