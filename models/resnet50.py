"""ResNet-50 (He et al., Deep Residual Learning, 2015), torchvision's form (stride in the 3×3)."""

from __future__ import annotations

import onnx

from autotune.models.builder import Builder

LAYERS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
EXPANSION = 4
RESIDUAL_SCALE = 0.4


def _unit(b: Builder, x: str, inner: int, outer: int, kernel: int, *, stride: int = 1, scale: float = 1.0) -> str:
    y = b.conv(x, inner, outer, kernel, stride=stride, bias=False, gain=2.0 if scale == 1.0 else 1.0)
    return b.batch_norm(y, outer, scale=scale)


def _block(b: Builder, x: str, inner: int, width: int, stride: int) -> str:
    outer = width * EXPANSION
    y = b.relu(_unit(b, x, inner, width, 1))
    y = b.relu(_unit(b, y, width, width, 3, stride=stride))
    y = _unit(b, y, width, outer, 1, scale=RESIDUAL_SCALE)
    if stride != 1 or inner != outer:
        x = _unit(b, x, inner, outer, 1, stride=stride, scale=0.999)
    return b.relu(b.op("Add", [y, x]))


def build(*, size: int = 224, seed: int = 0) -> onnx.ModelProto:
    """ResNet-50: `images` [batch, 3, size, size] -> `output` [batch, 1000]."""
    b = Builder("resnet50", seed=seed)
    x = b.relu(_unit(b, "images", 3, 64, 7, stride=2))
    x = b.op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    inner = 64
    for width, count, stride in LAYERS:
        for at in range(count):
            x = _block(b, x, inner, width, stride if at == 0 else 1)
            inner = width * EXPANSION
    x = b.op("Flatten", [b.op("GlobalAveragePool", [x])])
    return b.vision(size, b.linear(x, inner, 1000), ("batch", 1000))
