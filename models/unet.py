"""U-Net (Ronneberger et al., 2015) with same padding and batch normalisation folded in."""

from __future__ import annotations

import math
from itertools import pairwise

import onnx

from autotune.models.builder import Builder

WIDTHS = (64, 128, 256, 512, 1024)
CLASSES = 2


def _double(b: Builder, x: str, inner: int, outer: int) -> str:
    return b.relu(b.conv(b.relu(b.conv(x, inner, outer, 3)), outer, outer, 3))


def _up(b: Builder, x: str, inner: int, outer: int) -> str:
    weight = b.normal((inner, outer, 2, 2), math.sqrt(1 / inner))
    bias = b.constant([0.0] * outer, dtype="float32")
    return b.op("ConvTranspose", [x, weight, bias], kernel_shape=[2, 2], strides=[2, 2])


def build(*, size: int = 256, seed: int = 0) -> onnx.ModelProto:
    """U-Net for `size` a multiple of 16: `images` [batch, 3, size, size] -> `output` [batch, 2, size, size]."""
    b = Builder("unet", seed=seed)
    kept = [_double(b, "images", 3, WIDTHS[0])]
    for inner, outer in pairwise(WIDTHS):
        pooled = b.op("MaxPool", [kept[-1]], kernel_shape=[2, 2], strides=[2, 2])
        kept.append(_double(b, pooled, inner, outer))
    x = kept.pop()
    for inner, outer in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True):
        x = b.op("Concat", [kept.pop(), _up(b, x, inner, outer)], axis=1)
        x = _double(b, x, inner, outer)
    return b.vision(size, b.conv(x, WIDTHS[0], CLASSES, 1), ("batch", CLASSES, size, size))
