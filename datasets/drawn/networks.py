"""Sizes of published networks: which widths, windows, strides and groups occur together, and at which resolution.

Each entry is one network's own table of stages, so that what is drawn keeps the joint distribution: a real network has
no 3-channel tensor of 7×7 and no 2,048-channel one of 112×112.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blocks of one width.

    Args:
        width: output channels.
        shrink: how many times smaller than the image each side is.
        window: side of the window of the block's main convolution.
        expand: inner channels over those of the input (inverted bottlenecks) or of the output (others).
        group: channels of one group; 0: one group.
        squeeze: whether a squeeze-and-excitation follows.
    """

    width: int
    shrink: int
    window: int = 3
    expand: float = 1.0
    group: int = 0
    squeeze: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A network over images.

    Args:
        source: where its table is published.
        block: name of its block, see `BLOCKS`.
        stages: from the image to the head.
        activation: name, see `activated`.
        sides: sizes of images it is used at.
    """

    source: str
    block: str
    stages: tuple[Stage, ...]
    activation: str = "relu"
    sides: tuple[int, ...] = (128, 160, 192, 224, 224, 224, 256, 320)


def _of(widths: tuple[int, ...], shrinks: tuple[int, ...], **rest: float) -> tuple[Stage, ...]:
    return tuple(Stage(width=w, shrink=s, **rest) for w, s in zip(widths, shrinks, strict=True))  # type: ignore[arg-type]


_LAST, _ALL = (4, 8, 16, 32), (2, 4, 8, 16, 32)
_DETECT = (256, 320, 320, 416, 512, 640)
_MAPS = (128, 256, 256, 384, 512)

_EFFICIENT = (
    Stage(width=16, shrink=2, squeeze=True),
    Stage(width=24, shrink=4, expand=6.0, squeeze=True),
    Stage(width=40, shrink=8, window=5, expand=6.0, squeeze=True),
    Stage(width=80, shrink=16, expand=6.0, squeeze=True),
    Stage(width=112, shrink=16, window=5, expand=6.0, squeeze=True),
    Stage(width=192, shrink=32, window=5, expand=6.0, squeeze=True),
    Stage(width=320, shrink=32, expand=6.0, squeeze=True),
)

BACKBONES = (
    Backbone(source="ResNet-18/34, arXiv 1512.03385", block="basic", stages=_of((64, 128, 256, 512), _LAST)),
    Backbone(
        source="ResNet-50/101, arXiv 1512.03385",
        block="bottleneck",
        stages=_of((256, 512, 1024, 2048), _LAST, expand=0.25),
    ),
    Backbone(
        source="ResNeXt-50 32x4d, arXiv 1611.05431",
        block="bottleneck",
        stages=tuple(
            Stage(width=w, shrink=s, expand=0.5, group=w // 64)
            for w, s in zip((256, 512, 1024, 2048), _LAST, strict=True)
        ),
    ),
    Backbone(
        source="RegNetY-400MF, arXiv 2003.13678",
        block="bottleneck",
        stages=_of((48, 104, 208, 440), _LAST, group=8, squeeze=True),
    ),
    Backbone(
        source="RegNetX-800MF, arXiv 2003.13678", block="bottleneck", stages=_of((64, 128, 288, 672), _LAST, group=16)
    ),
    Backbone(
        source="RegNetY-1.6GF, arXiv 2003.13678",
        block="bottleneck",
        stages=_of((48, 120, 336, 888), _LAST, group=24, squeeze=True),
    ),
    Backbone(
        source="RegNetX-3.2GF, arXiv 2003.13678", block="bottleneck", stages=_of((96, 192, 432, 1008), _LAST, group=48)
    ),
    Backbone(source="HRNet-W18, arXiv 1908.07919", block="basic", stages=_of((18, 36, 72, 144), _LAST), sides=_MAPS),
    Backbone(source="HRNet-W32, arXiv 1908.07919", block="basic", stages=_of((32, 64, 128, 256), _LAST), sides=_MAPS),
    Backbone(
        source="MobileNetV1, arXiv 1704.04861",
        block="separable",
        activation="relu6",
        stages=_of((64, 128, 256, 512, 1024), _ALL),
    ),
    Backbone(
        source="MobileNetV2, arXiv 1801.04381",
        block="inverted",
        activation="relu6",
        stages=(Stage(width=16, shrink=2), *_of((24, 32, 64, 96, 160, 320), (4, 8, 16, 16, 32, 32), expand=6.0)),
    ),
    Backbone(
        source="MobileNetV3-Large, arXiv 1905.02244",
        block="inverted",
        activation="hardswish",
        stages=(
            Stage(width=16, shrink=2),
            Stage(width=24, shrink=4, expand=3.0),
            Stage(width=40, shrink=8, window=5, expand=3.0, squeeze=True),
            Stage(width=80, shrink=16, expand=2.5),
            Stage(width=112, shrink=16, expand=6.0, squeeze=True),
            Stage(width=160, shrink=32, window=5, expand=6.0, squeeze=True),
        ),
    ),
    Backbone(
        source="MobileNetV3-Small, arXiv 1905.02244",
        block="inverted",
        activation="hardswish",
        stages=(
            Stage(width=16, shrink=4, squeeze=True),
            Stage(width=24, shrink=8, expand=4.5),
            Stage(width=40, shrink=16, window=5, expand=6.0, squeeze=True),
            Stage(width=48, shrink=16, window=5, expand=3.0, squeeze=True),
            Stage(width=96, shrink=32, window=5, expand=6.0, squeeze=True),
        ),
    ),
    Backbone(
        source="EfficientNet-B0, arXiv 1905.11946",
        block="inverted",
        activation="silu",
        stages=_EFFICIENT,
    ),
    Backbone(
        source="EfficientNet-Lite0, arXiv 1905.11946",
        block="inverted",
        activation="relu6",
        stages=tuple(replace(stage, squeeze=False) for stage in _EFFICIENT),
    ),
    Backbone(
        source="ProxylessNAS mobile, arXiv 1812.00332",
        block="inverted",
        activation="relu6",
        stages=(
            Stage(width=16, shrink=2),
            Stage(width=32, shrink=4, window=5, expand=3.0),
            Stage(width=40, shrink=8, window=7, expand=3.0),
            Stage(width=80, shrink=16, window=5, expand=3.0),
            Stage(width=96, shrink=16, window=5, expand=3.0),
            Stage(width=192, shrink=32, window=7, expand=6.0),
            Stage(width=320, shrink=32, window=7, expand=6.0),
        ),
    ),
    Backbone(
        source="MnasNet-A1, arXiv 1807.11626",
        block="inverted",
        stages=(
            Stage(width=24, shrink=4, expand=6.0),
            Stage(width=40, shrink=8, window=5, expand=3.0, squeeze=True),
            Stage(width=80, shrink=16, expand=6.0),
            Stage(width=112, shrink=16, expand=6.0, squeeze=True),
            Stage(width=160, shrink=32, window=5, expand=6.0, squeeze=True),
        ),
    ),
    Backbone(
        source="EfficientNetV2-S, arXiv 2104.00298",
        block="fused",
        activation="silu",
        stages=(Stage(width=24, shrink=2), *_of((48, 64), (4, 8), expand=4.0)),
    ),
    Backbone(
        source="DenseNet-121, arXiv 1608.06993", block="dense", stages=_of((256, 512, 1024, 1024), _LAST, expand=32.0)
    ),
    Backbone(
        source="DenseNet-161, arXiv 1608.06993", block="dense", stages=_of((384, 768, 2112, 2208), _LAST, expand=48.0)
    ),
    Backbone(source="ShuffleNetV2 x0.5, arXiv 1807.11164", block="shuffle", stages=_of((48, 96, 192), (8, 16, 32))),
    Backbone(source="ShuffleNetV2 x1, arXiv 1807.11164", block="shuffle", stages=_of((116, 232, 464), (8, 16, 32))),
    Backbone(source="ShuffleNetV2 x2, arXiv 1807.11164", block="shuffle", stages=_of((244, 488, 976), (8, 16, 32))),
    Backbone(
        source="GhostNet, arXiv 1911.11907", block="ghost", stages=_of((24, 40, 80, 112, 160), (4, 8, 16, 16, 32))
    ),
    Backbone(source="SqueezeNet, arXiv 1602.07360", block="fire", stages=_of((128, 256, 384, 512), (4, 8, 16, 16))),
    Backbone(
        source="VGG-11/16, arXiv 1409.1556", block="plain", stages=_of((64, 128, 256, 512, 512), (1, 2, 4, 8, 16))
    ),
    Backbone(
        source="Inception-v3, arXiv 1512.00567",
        block="inception",
        stages=_of((256, 288, 768, 1280), (8, 8, 16, 32)),
        sides=(224, 299, 299, 320),
    ),
    Backbone(
        source="ConvNeXt-T, arXiv 2201.03545",
        block="convnext",
        activation="gelu",
        stages=_of((96, 192, 384, 768), _LAST, window=7, expand=4.0),
    ),
    Backbone(
        source="ConvNeXtV2-A, arXiv 2301.00808",
        block="convnext",
        activation="gelu",
        stages=_of((40, 80, 160, 320), _LAST, window=7, expand=4.0),
    ),
    Backbone(
        source="Darknet-53, arXiv 1804.02767",
        block="darknet",
        activation="leaky",
        stages=_of((64, 128, 256, 512, 1024), _ALL, expand=0.5),
        sides=_DETECT,
    ),
    Backbone(
        source="YOLOv3's neck, arXiv 1804.02767",
        block="neck",
        activation="leaky",
        stages=_of((512, 256, 128), (16, 8, 4)),
        sides=_DETECT,
    ),
    Backbone(
        source="YOLOv4's pyramid pooling, arXiv 2004.10934",
        block="pooled",
        activation="leaky",
        stages=_of((256, 512, 1024), (8, 16, 32)),
        sides=_DETECT,
    ),
    Backbone(
        source="Res2Net-50 26w4s, arXiv 1904.01169",
        block="multiscale",
        stages=_of((256, 512, 1024, 2048), _LAST, expand=104 / 256),
    ),
    Backbone(
        source="VoVNet-39, arXiv 1904.09730",
        block="aggregated",
        stages=_of((256, 512, 768, 1024), _LAST, expand=0.25),
    ),
    Backbone(
        source="NAS-Bench-201, arXiv 2001.00326",
        block="searched",
        stages=_of((16, 32, 64), (1, 2, 4)),
        sides=(16, 32, 32, 64, 128),
    ),
    Backbone(
        source="NASNet-A mobile, arXiv 1707.07012",
        block="cell",
        stages=_of((176, 352, 704), (8, 16, 32), expand=0.25),
    ),
    Backbone(
        source="YOLO n, docs.ultralytics.com",
        block="partial",
        activation="silu",
        stages=_of((32, 64, 128, 256), _LAST),
        sides=_DETECT,
    ),
    Backbone(
        source="YOLO s, docs.ultralytics.com",
        block="partial",
        activation="silu",
        stages=_of((64, 128, 256, 512), _LAST),
        sides=_DETECT,
    ),
    Backbone(
        source="U-Net decoder, arXiv 1505.04597",
        block="upwards",
        stages=_of((512, 256, 128, 64), (8, 4, 2, 1)),
        sides=_MAPS,
    ),
    Backbone(
        source="Feature pyramid, arXiv 1612.03144",
        block="pyramid",
        stages=_of((256, 256, 256), (8, 16, 32)),
        sides=_DETECT,
    ),
    Backbone(source="DeepLabv3, arXiv 1706.05587", block="atrous", stages=_of((256, 512), (16, 8)), sides=_MAPS),
    Backbone(
        source="Fast style transfer, arXiv 1607.08022",
        block="stylised",
        stages=_of((128, 64, 32), (4, 2, 1)),
        sides=_MAPS,
    ),
    Backbone(
        source="DCGAN, arXiv 1511.06434",
        block="generator",
        stages=_of((512, 256, 128, 64), (16, 8, 4, 2)),
        sides=(64, 128, 256),
    ),
    Backbone(
        source="EDSR, arXiv 1707.02921", block="sharper", stages=_of((64, 32), (1, 1)), sides=(64, 96, 128, 160, 240)
    ),
    Backbone(
        source="Latent diffusion, arXiv 2112.10752",
        block="normed",
        stages=_of((128, 256, 512), (8, 16, 32)),
        sides=_DETECT,
    ),
)

CLASSES = (2, 10, 21, 80, 91, 100, 200, 365, 1000, 1000)
HIDDEN = (512, 1024, 2048, 4096, 4096)
"""Units of a hidden layer before the classes (AlexNet, VGG)."""
WIDTHS = (0.25, 0.5, 0.75, *[1.0] * 8, 1.25, 1.5)
"""Width multipliers that networks are published at (MobileNets, EfficientNet's scaling); most are used as they are."""
ASPECTS = (*[(1, 1)] * 9, (3, 4), (4, 3), (9, 16), (1, 2), (2, 1))
"""Height : width of images; most networks are exported for square ones, and as many of their kernels teach more of
another model than of others (docs/decisions.md)."""
