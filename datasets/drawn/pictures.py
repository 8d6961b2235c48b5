"""Blocks of networks that give pictures or boxes: upwards, dilated, over several sizes."""

from __future__ import annotations

from autotune.datasets.drawn.layers import Block, Setting, activated, instance_norm
from autotune.datasets.drawn.sketch import Sketch


def upwards(s: Sketch, x: str, at: Setting) -> str:
    """U-Net's way up: twice the size, joined to what was there on the way down, two convolutions."""
    up = s.deconv(x, at.width, 2) if at.rng.random() < 0.6 else s.conv(resized(s, x, at.rng.random() < 0.5), at.width)
    beside = s.input(s.shapes[up][0], at.width, *s.shapes[up][2:])
    y = s.same("Relu", s.conv(s.concat([beside, up]), at.width))
    return s.same("Relu", s.conv(y, at.width))


def resized(s: Sketch, x: str, linear: bool) -> str:
    """Twice the size, by the nearest pixel or between pixels."""
    batch, channels, high, wide = s.shapes[x]
    sizes = s.integers(batch, channels, 2 * high, 2 * wide)
    settings = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"} if linear else {"mode": "nearest"}
    if not linear:
        settings |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return s.op("Resize", (x, "", "", sizes), (batch, channels, 2 * high, 2 * wide), **settings)


def pyramid(s: Sketch, x: str, at: Setting) -> str:
    """Feature pyramid: the coarse map resized onto the fine one, smoothed, then boxes and classes."""
    up = resized(s, x, linear=False)
    batch, _, high, wide = s.shapes[up]
    fine = s.input(batch, at.rng.choice((at.width, 2 * at.width, 4 * at.width)), high, wide)
    joined = s.same("Add", s.conv(fine, s.shapes[up][1], 1), up)
    y = s.conv(joined, at.width)
    outer = at.rng.choice((4, 36, 80, 91, 144, 255))
    head = s.conv(activated(s, s.conv(y, at.width), "relu"), outer)
    flat = s.reshape(s.transpose(head, 0, 2, 3, 1), batch, high * wide, outer)
    s.same("Sigmoid", flat)
    return y


def atrous(s: Sketch, x: str, at: Setting) -> str:
    """DeepLab: the same map seen with windows of several dilations, and in the mean."""
    batch, channels, high, wide = s.shapes[x]
    rates = at.rng.choice(((6, 12, 18), (2, 4, 8), (12, 24, 36)))
    parts = [s.same("Relu", s.conv(x, at.width, 1))]
    parts += [s.same("Relu", s.conv(x, at.width, dilation=rate)) for rate in rates if rate < min(high, wide)]
    mean = s.op("GlobalAveragePool", (x,), (batch, channels, 1, 1))
    shape = s.integers(batch, at.width, high, wide)
    parts.append(s.op("Expand", (s.same("Relu", s.conv(mean, at.width, 1)), shape), (batch, at.width, high, wide)))
    return s.same("Relu", s.conv(s.concat(parts), at.width, 1))


def stylised(s: Sketch, x: str, at: Setting) -> str:
    """Style transfer: reflected borders, instance normalisation."""
    x = s.conv(x, at.width) if s.shapes[x][1] != at.width else x
    y = x
    for last in (False, True):
        batch, channels, high, wide = s.shapes[y]
        padded = s.op(
            "Pad", (y, s.integers(0, 0, 1, 1, 0, 0, 1, 1)), (batch, channels, high + 2, wide + 2), mode="reflect"
        )
        y = s.op(
            "Conv",
            (padded, s.weight(at.width, channels, 3, 3), s.weight(at.width)),
            (batch, at.width, high, wide),
            kernel_shape=[3, 3],
        )
        y = instance_norm(s, y)
        y = y if last else s.same("Relu", y)
    return s.same("Add", y, x)


def generator(s: Sketch, x: str, at: Setting) -> str:
    """DCGAN: transposed convolutions of 4×4."""
    up = s.deconv(x, at.width, 4)
    return activated(s, up, at.rng.choice(("relu", "relu", "leaky", "tanh")))


def sharper(s: Sketch, x: str, at: Setting) -> str:
    """EDSR: residual blocks at the full size, at the end pixels out of channels."""
    x = s.conv(x, at.width) if s.shapes[x][1] != at.width else x
    y = s.conv(s.same("Relu", s.conv(x, at.width)), at.width)
    x = s.same("Add", y, x)
    if at.rng.random() < 0.3:
        factor = at.rng.choice((2, 3, 4))
        batch, _, high, wide = s.shapes[x]
        wider = s.conv(x, 3 * factor**2)
        s.op("DepthToSpace", (wider,), (batch, 3, high * factor, wide * factor), blocksize=factor, mode="CRD")
    return x


BLOCKS: dict[str, Block] = {
    "upwards": upwards,
    "pyramid": pyramid,
    "atrous": atrous,
    "stylised": stylised,
    "generator": generator,
    "sharper": sharper,
}
