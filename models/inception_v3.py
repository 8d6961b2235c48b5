"""Inception-v3 (Szegedy et al., Rethinking the Inception Architecture, 2015) without the auxiliary head."""

from __future__ import annotations

import onnx

from autotune.models.builder import Builder

Kernel = int | tuple[int, int]


class _Inception:
    def __init__(self, seed: int) -> None:
        self.b = Builder("inception_v3", seed=seed)

    def unit(
        self,
        x: str,
        inner: int,
        outer: int,
        kernel: Kernel = 1,
        *,
        stride: int = 1,
        pad: int | tuple[int, int] | None = None,
    ) -> str:
        y = self.b.conv(x, inner, outer, kernel, stride=stride, pad=pad, bias=False)
        return self.b.relu(self.b.batch_norm(y, outer))

    def chain(self, x: str, inner: int, *steps: tuple[int, Kernel]) -> str:
        """Units one after the other: (channels, kernel)."""
        for outer, kernel in steps:
            x, inner = self.unit(x, inner, outer, kernel), outer
        return x

    def pooled(self, x: str, inner: int, outer: int) -> str:
        y = self.b.op("AveragePool", [x], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=1)
        return self.unit(y, inner, outer)

    def shrink(self, x: str) -> str:
        return self.b.op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])

    def join(self, *parts: str) -> str:
        return self.b.op("Concat", parts, axis=1)

    def block_a(self, x: str, inner: int, pool: int) -> str:
        return self.join(
            self.unit(x, inner, 64),
            self.chain(x, inner, (48, 1), (64, 5)),
            self.chain(x, inner, (64, 1), (96, 3), (96, 3)),
            self.pooled(x, inner, pool),
        )

    def block_b(self, x: str, inner: int) -> str:
        right = self.chain(x, inner, (64, 1), (96, 3))
        return self.join(
            self.unit(x, inner, 384, 3, stride=2, pad=0), self.unit(right, 96, 96, 3, stride=2, pad=0), self.shrink(x)
        )

    def block_c(self, x: str, c7: int) -> str:
        row, column = (1, 7), (7, 1)
        return self.join(
            self.unit(x, 768, 192),
            self.chain(x, 768, (c7, 1), (c7, row), (192, column)),
            self.chain(x, 768, (c7, 1), (c7, column), (c7, row), (c7, column), (192, row)),
            self.pooled(x, 768, 192),
        )

    def block_d(self, x: str) -> str:
        left = self.unit(self.unit(x, 768, 192), 192, 320, 3, stride=2, pad=0)
        right = self.chain(x, 768, (192, 1), (192, (1, 7)), (192, (7, 1)))
        return self.join(left, self.unit(right, 192, 192, 3, stride=2, pad=0), self.shrink(x))

    def block_e(self, x: str, inner: int) -> str:
        middle = self.unit(x, inner, 384)
        right = self.chain(x, inner, (448, 1), (384, 3))
        return self.join(
            self.unit(x, inner, 320),
            self.join(self.unit(middle, 384, 384, (1, 3)), self.unit(middle, 384, 384, (3, 1))),
            self.join(self.unit(right, 384, 384, (1, 3)), self.unit(right, 384, 384, (3, 1))),
            self.pooled(x, inner, 192),
        )


def build(*, size: int = 299, seed: int = 0) -> onnx.ModelProto:
    """Inception-v3: `images` [batch, 3, size, size] -> `output` [batch, 1000]."""
    net = _Inception(seed)
    x = net.unit("images", 3, 32, 3, stride=2, pad=0)
    x = net.unit(net.unit(x, 32, 32, 3, pad=0), 32, 64, 3)
    x = net.unit(net.unit(net.shrink(x), 64, 80), 80, 192, 3, pad=0)
    x = net.shrink(x)
    for inner, pool in ((192, 32), (256, 64), (288, 64)):
        x = net.block_a(x, inner, pool)
    x = net.block_b(x, 288)
    for c7 in (128, 160, 160, 192):
        x = net.block_c(x, c7)
    x = net.block_d(x)
    x = net.block_e(net.block_e(x, 1280), 2048)
    x = net.b.op("Flatten", [net.b.op("GlobalAveragePool", [x])])
    return net.b.vision(size, net.b.linear(x, 2048, 1000, gain=4.0), ("batch", 1000))
