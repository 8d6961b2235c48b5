"""YOLOv8n: CSP backbone, PAN neck, decoupled anchor-free head with decoded boxes (Ultralytics, 2023)."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import onnx

from autotune.models.builder import Builder
from autotune.models.healthy import BIAS_STD, scale_convolutions, smooth_image, unit_factors

CLASSES = 80
BINS = 16
STRIDES = (8, 16, 32)
WIDTHS = (16, 32, 64, 128, 256)
DEPTHS = (1, 2, 2, 1)
CALIBRATION_SIZE = 160


class _Yolo:
    def __init__(self, size: int, seed: int) -> None:
        self.b = Builder("yolov8n", seed=seed)
        self.size = size

    def unit(self, x: str, inner: int, outer: int, kernel: int = 1, stride: int = 1) -> str:
        """Convolution (batch normalisation folded in, as exported) and SiLU."""
        return self.b.silu(self.b.conv(x, inner, outer, kernel, stride=stride, bias_std=BIAS_STD))

    def c2f(self, x: str, inner: int, outer: int, count: int, *, shortcut: bool) -> str:
        """Cross-stage partial block with two convolutions and `count` bottlenecks."""
        hidden = outer // 2
        both = self.unit(x, inner, outer)
        left = self.b.op("Split", [both, self.b.constant([hidden, hidden], dtype="int64")], outputs=2, axis=1)
        kept = [left, f"{left}_1"]
        for _ in range(count):
            y = self.unit(kept[-1], hidden, hidden, 3)
            y = self.unit(y, hidden, hidden, 3)
            kept.append(self.b.op("Add", [kept[-1], y]) if shortcut else y)
        return self.unit(self.b.op("Concat", kept, axis=1), (2 + count) * hidden, outer)

    def sppf(self, x: str, channels: int) -> str:
        """Spatial pyramid pooling, fast form."""
        y = [self.unit(x, channels, channels // 2)]
        for _ in range(3):
            y.append(self.b.op("MaxPool", [y[-1]], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]))
        return self.unit(self.b.op("Concat", y, axis=1), channels * 2, channels)

    def upsample(self, x: str) -> str:
        scales = self.b.constant([1.0, 1.0, 2.0, 2.0], dtype="float32")
        return self.b.op("Resize", [x, "", scales], mode="nearest", coordinate_transformation_mode="asymmetric",
                         nearest_mode="floor")  # fmt: skip

    def features(self) -> list[str]:
        """The three maps that the head looks at."""
        w1, w2, w3, w4, w5 = WIDTHS
        x = self.unit("images", 3, w1, 3, 2)
        x = self.c2f(self.unit(x, w1, w2, 3, 2), w2, w2, DEPTHS[0], shortcut=True)
        p3 = self.c2f(self.unit(x, w2, w3, 3, 2), w3, w3, DEPTHS[1], shortcut=True)
        p4 = self.c2f(self.unit(p3, w3, w4, 3, 2), w4, w4, DEPTHS[2], shortcut=True)
        p5 = self.c2f(self.unit(p4, w4, w5, 3, 2), w5, w5, DEPTHS[3], shortcut=True)
        p5 = self.sppf(p5, w5)
        up4 = self.c2f(self.b.op("Concat", [self.upsample(p5), p4], axis=1), w5 + w4, w4, 1, shortcut=False)
        out3 = self.c2f(self.b.op("Concat", [self.upsample(up4), p3], axis=1), w4 + w3, w3, 1, shortcut=False)
        down = self.b.op("Concat", [self.unit(out3, w3, w3, 3, 2), up4], axis=1)
        out4 = self.c2f(down, w3 + w4, w4, 1, shortcut=False)
        down = self.b.op("Concat", [self.unit(out4, w4, w4, 3, 2), p5], axis=1)
        return [out3, out4, self.c2f(down, w4 + w5, w5, 1, shortcut=False)]

    def head(self, x: str, inner: int) -> str:
        """Box distribution and class scores of one map, [batch, 64 + 80, cells]."""
        boxes, scores = max(16, WIDTHS[2] // 4, BINS * 4), max(WIDTHS[2], min(CLASSES, 100))
        box = self.unit(self.unit(x, inner, boxes, 3), boxes, boxes, 3)
        box = self.b.conv(box, boxes, 4 * BINS, 1, bias_std=BIAS_STD)
        score = self.unit(self.unit(x, inner, scores, 3), scores, scores, 3)
        score = self.b.conv(score, scores, CLASSES, 1, bias_std=BIAS_STD)
        return self.b.reshape(self.b.op("Concat", [box, score], axis=1), [0, 4 * BINS + CLASSES, -1])

    def decode(self, maps: list[str]) -> str:
        """Boxes from their distributions (distribution focal loss), in pixels, beside the scores."""
        b = self.b
        joined = b.op("Concat", maps, axis=2)
        cells = sum(math.ceil(self.size / stride) ** 2 for stride in STRIDES)
        box = b.op("Split", [joined, b.constant([4 * BINS, CLASSES], dtype="int64")], outputs=2, axis=1)
        spread = b.op("Transpose", [b.reshape(box, [0, 4, BINS, cells])], perm=[0, 2, 1, 3])
        bins = b.constant(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
        sides = b.op("Conv", [b.op("Softmax", [spread], axis=1), bins], kernel_shape=[1, 1])
        sides = b.reshape(sides, [0, 4, cells])
        near = b.op("Split", [sides, b.constant([2, 2], dtype="int64")], outputs=2, axis=1)
        anchors, strides = self.anchors()
        low, high = b.op("Sub", [anchors, near]), b.op("Add", [anchors, f"{near}_1"])
        centre = b.op("Div", [b.op("Add", [low, high]), b.constant(np.float32(2))])
        pixels = b.op("Mul", [b.op("Concat", [centre, b.op("Sub", [high, low])], axis=1), strides])
        return b.op("Concat", [pixels, b.op("Sigmoid", [f"{box}_1"])], axis=1, name="output0")

    def anchors(self) -> tuple[str, str]:
        """Centres of all cells in units of their strides, and the strides."""
        points, strides = [], []
        for stride in STRIDES:
            count = math.ceil(self.size / stride)
            y, x = np.mgrid[:count, :count] + 0.5
            points.append(np.stack([x.ravel(), y.ravel()]))
            strides.append(np.full(count * count, stride))
        centres = np.concatenate(points, axis=1)[None].astype(np.float32)
        return self.b.constant(centres), self.b.constant(np.concatenate(strides)[None, None].astype(np.float32))


def _plain(size: int, seed: int) -> onnx.ModelProto:
    """The network with He weights that are not yet scaled."""
    net = _Yolo(size, seed)
    maps = [net.head(x, inner) for x, inner in zip(net.features(), WIDTHS[2:], strict=True)]
    net.decode(maps)
    cells = sum(math.ceil(size / stride) ** 2 for stride in STRIDES)
    return net.b.model(
        {"images": (onnx.TensorProto.FLOAT, ("batch", 3, size, size))},
        {"output0": (onnx.TensorProto.FLOAT, ("batch", 4 + CLASSES, cells))},
    )


@cache
def _factors(seed: int) -> list[float]:
    """Scales of the convolutions: this network has no normalisation left that would keep its activations in range."""
    return unit_factors(_plain(CALIBRATION_SIZE, seed), {"images": smooth_image(CALIBRATION_SIZE, seed=seed)})


def build(*, size: int = 640, seed: int = 0) -> onnx.ModelProto:
    """YOLOv8n for images of `size` × `size` (a multiple of 32): `images` -> `output0` [batch, 84, cells]."""
    model = _plain(size, seed)
    scale_convolutions(model, _factors(seed))
    return model
