"""Which block follows which: short chains as published networks have them, from the image to the head."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import onnx

from autotune.datasets.drawn import branched, convolutional, mobile, pictures
from autotune.datasets.drawn.layers import Block, Setting, activated, multiple
from autotune.datasets.drawn.networks import ASPECTS, BACKBONES, CLASSES, HIDDEN, WIDTHS, Backbone
from autotune.datasets.drawn.sequences import BATCHES
from autotune.datasets.drawn.sketch import Sketch
from autotune.datasets.drawn.steps import recurrent, tabular, temporal
from autotune.datasets.drawn.tokens import transformer

BLOCKS: dict[str, Block] = convolutional.BLOCKS | branched.BLOCKS | mobile.BLOCKS | pictures.BLOCKS
LONGEST = 3
"""Blocks of a chain over images: it is about kernels and their neighbours, not about the whole network."""
NEXT_STAGE = 0.4
"""How often the next block belongs to the next stage."""
STEM, HEAD = 0.1, 0.2
"""How often a chain over images begins at the image, or ends with a classifier."""
_UPWARDS = frozenset({"upwards", "generator", "pyramid", "neck"})


def drawn_graph(seed: int) -> onnx.ModelProto:
    """A short chain of blocks of a published network, at one of the sizes it is used at; weights have no values.

    Args:
        seed: the same seed gives the same graph.

    Returns:
        A model whose graph is named after the network's source.
    """
    rng, sketch = random.Random(seed), Sketch()
    kinds, shares = zip(*_KINDS, strict=True)
    rng.choices(kinds, shares)[0](sketch, rng)
    return sketch.model()


def _vision(s: Sketch, rng: random.Random) -> None:
    net = rng.choice(BACKBONES)
    s.source = net.source
    scale = rng.choice(WIDTHS)
    at = rng.randrange(len(net.stages))
    x = _entry(s, net, at, scale, rng)
    beginning = True
    for _ in range(rng.randint(1, LONGEST)):
        x = BLOCKS[net.block](s, x, _setting(net, at, scale, beginning, rng))
        beginning = at + 1 < len(net.stages) and rng.random() < NEXT_STAGE
        at += beginning
    if net.block == "plain":
        if at == len(net.stages) - 1:
            _hidden_classifier(s, x, rng)
    elif rng.random() < HEAD and net.block not in _UPWARDS:
        _classifier(s, x, rng)


def _entry(s: Sketch, net: Backbone, at: int, scale: float, rng: random.Random) -> str:
    """The tensor that the first block takes: of the stage before, or a stem's."""
    high, wide = rng.choice(ASPECTS)
    side, batch = rng.choice(net.sides), rng.choice(BATCHES)
    before = _shrink_before(net, at)
    sides = [max(2, side * part // max(high, wide) // before) for part in (high, wide)]
    width = _width(net, at - 1, scale) if at else multiple(net.stages[0].width * scale / 2, 8)
    if at == 0 and rng.random() < STEM:
        window, stride = rng.choice(((3, 2), (3, 1), (7, 2), (6, 2), (5, 1)))
        image = s.input(batch, 3, *(size * stride for size in sides))
        return activated(s, s.conv(image, width, window, stride=stride), net.activation)
    return s.input(batch, width, *sides)


def _shrink_before(net: Backbone, at: int) -> int:
    own = net.stages[at].shrink
    if net.block in _UPWARDS:
        return 2 * own
    return net.stages[at - 1].shrink if at else max(1, own // 2)


def _width(net: Backbone, at: int, scale: float) -> int:
    stage = net.stages[at]
    if stage.width < 20:  # HRNet's 18, MobileNet's first 16
        return stage.width if scale == 1 else multiple(stage.width * scale, 8)
    inner = round(1 / stage.expand) if stage.expand < 1 else 1
    return multiple(stage.width * scale, max(8, (stage.group or 1) * inner) if scale != 1 else 1)


def _setting(net: Backbone, at: int, scale: float, beginning: bool, rng: random.Random) -> Setting:
    stage = net.stages[at]
    down = beginning and net.block not in _UPWARDS and stage.shrink > _shrink_before(net, at)
    if stage.expand < 1 and stage.group:  # groups of a fixed number: ResNeXt's channels per group grow with the width
        stage = replace(stage, group=max(1, round(stage.group * scale)))
    return Setting(
        stage=stage, width=_width(net, at, scale), stride=2 if down else 1, activation=net.activation, rng=rng
    )


def _classifier(s: Sketch, x: str, rng: random.Random) -> None:
    batch, channels, *_ = s.shapes[x]
    if rng.random() < 0.5:
        mean = s.op("GlobalAveragePool", (x,), (batch, channels, 1, 1))
        flat = s.op("Flatten", (mean,), (batch, channels), axis=1)
    else:
        flat = s.op("ReduceMean", (x,), (batch, channels), axes=[2, 3], keepdims=0)
    scores = s.gemm(flat, rng.choice(CLASSES))
    s.same("Softmax", scores, axis=-1)


def _hidden_classifier(s: Sketch, x: str, rng: random.Random) -> None:
    """AlexNet's and VGG's: two hidden layers over all positions, with most of the network's weights."""
    x = s.pool("MaxPool", x, 2, 2) if min(s.shapes[x][2:]) > 1 else x
    flat = s.op("Flatten", (x,), (s.shapes[x][0], math.prod(s.shapes[x][1:])), axis=1)
    for _ in range(2):
        flat = s.same("Relu", s.gemm(flat, rng.choice(HIDDEN)))
    s.gemm(flat, rng.choice(CLASSES))


_KINDS: tuple[tuple[Callable[[Sketch, random.Random], None], float], ...] = (
    (_vision, 0.64),
    (transformer, 0.16),
    (recurrent, 0.07),
    (temporal, 0.06),
    (tabular, 0.07),
)
"""Kinds of chains, and how often each is drawn."""
