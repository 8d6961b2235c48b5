"""What blocks have in common: their setting, activations, normalisations, squeeze and excitation."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from autotune.datasets.drawn.networks import Stage
from autotune.datasets.drawn.sketch import Sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How one block is built.

    Args:
        stage: of the published network.
        width: output channels, after the network's width multiplier.
        stride: 2 where a stage begins.
        activation: name, see `activated`.
        rng: of what a block leaves open.
    """

    stage: Stage
    width: int
    stride: int
    activation: str
    rng: random.Random

    @property
    def inner(self) -> int:
        """Channels inside a block whose expansion is relative to its output, a multiple of the group."""
        return multiple(self.width * self.stage.expand, self.stage.group or 1)


Block = Callable[[Sketch, str, Setting], str]


def multiple(value: float, step: int) -> int:
    """The nearest multiple, at least one."""
    return max(step, round(value / step) * step)


def activated(s: Sketch, x: str, kind: str) -> str:
    """An activation as exporters write it."""
    if kind == "relu6":
        return s.op("Clip", (x, s.number(0.0), s.number(6.0)), s.shapes[x])
    if kind == "silu":
        return s.same("Mul", x, s.same("Sigmoid", x))
    if kind == "leaky":
        return s.same("LeakyRelu", x, alpha=0.1)
    if kind == "hardswish":
        return s.same("HardSwish", x)
    if kind == "gelu":
        half = s.same("Div", x, s.number(1.41421354))
        one = s.same("Add", s.same("Erf", half), s.number(1.0))
        return s.same("Mul", s.same("Mul", x, one), s.number(0.5))
    if kind in ("tanh", "sigmoid"):
        return s.same(kind.title(), x)
    return s.same("Relu", x)


def batch_norm(s: Sketch, x: str) -> str:
    """A normalisation that no convolution before it can take up."""
    channels = s.shapes[x][1]
    return s.op("BatchNormalization", (x, *(s.weight(channels) for _ in range(4))), s.shapes[x], epsilon=1e-5)


def instance_norm(s: Sketch, x: str) -> str:
    """A normalisation over each channel's own picture."""
    channels = s.shapes[x][1]
    return s.op("InstanceNormalization", (x, s.weight(channels), s.weight(channels)), s.shapes[x], epsilon=1e-5)


def group_norm(s: Sketch, x: str, groups: int) -> str:
    """As exporters write it: an instance normalisation of the groups, then scale and shift."""
    batch, channels, high, wide = s.shapes[x]
    flat = s.reshape(x, batch, groups, channels // groups * high * wide)
    even = s.op("InstanceNormalization", (flat, s.weight(groups), s.weight(groups)), s.shapes[flat], epsilon=1e-5)
    back = s.reshape(even, batch, channels, high, wide)
    return s.same("Add", s.same("Mul", back, s.weight(channels, 1, 1)), s.weight(channels, 1, 1))


def squeezed(s: Sketch, x: str, inner: int) -> str:
    """Squeeze and excitation (arXiv 1709.01507)."""
    batch, channels, *_ = s.shapes[x]
    mean = s.op("GlobalAveragePool", (x,), (batch, channels, 1, 1))
    gate = s.conv(s.same("Relu", s.conv(mean, inner, 1)), channels, 1)
    return s.same("Mul", x, s.same("Sigmoid", gate))


def residual(s: Sketch, x: str, y: str) -> str:
    """Their sum where the shapes allow it."""
    return s.same("Add", y, x) if s.shapes[x] == s.shapes[y] else y
