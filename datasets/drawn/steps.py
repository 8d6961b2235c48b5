"""Chains over time and over tables: recurrent cells, one-dimensional convolutions, fully connected networks."""

from __future__ import annotations

import random

from autotune.datasets.drawn.layers import activated, residual
from autotune.datasets.drawn.sequences import BATCHES, MLPS, RECURRENT, ROWS, TEMPORAL
from autotune.datasets.drawn.sketch import Sketch


def recurrent(s: Sketch, rng: random.Random) -> None:
    """A recurrent layer in one direction or both, then a layer on what it gives."""
    s.source, cell, width, hidden, steps = rng.choice(RECURRENT)
    batch, count = rng.choice(BATCHES), rng.choice(steps)
    x = s.transpose(s.input(batch, count, width), 1, 0, 2)
    ways = rng.choice((1, 2))
    gates = {"LSTM": 4, "GRU": 3}[cell]
    settings = {"linear_before_reset": 1} if cell == "GRU" else {}
    weights = (
        s.weight(ways, gates * hidden, width),
        s.weight(ways, gates * hidden, hidden),
        s.weight(ways, 2 * gates * hidden),
    )
    y = s.op(
        cell,
        (x, *weights),
        (count, ways, batch, hidden),
        direction="bidirectional" if ways == 2 else "forward",
        hidden_size=hidden,
        **settings,
    )
    flat = s.reshape(s.transpose(y, 0, 2, 1, 3), count, batch, ways * hidden)
    made = s.dense(flat, rng.choice((29, 37, 96, hidden)))
    s.same("LogSoftmax" if rng.random() < 0.3 else "Softmax", made, axis=-1)


def temporal(s: Sketch, rng: random.Random) -> None:
    """Convolutions over one dimension, dilated or apart by channel."""
    s.source, channels, windows, stride, lengths = rng.choice(TEMPORAL)
    x = s.input(rng.choice(BATCHES), channels, rng.choice(lengths))
    for at in range(rng.choice((2, 3))):
        window = rng.choice(windows)
        if s.source.startswith(("Conv-TasNet", "QuartzNet")):
            y = s.conv(x, channels, window, groups=channels, dilation=1 if window > 9 else 2**at)
            y = s.same("Relu", s.conv(y, channels, 1))
        else:
            kind = rng.choice(("relu", "gelu", "tanh"))
            y = activated(s, s.conv(x, channels, window, stride=stride, dilation=1 if stride > 1 else 2**at), kind)
        x = residual(s, x, y)
    if rng.random() < 0.5:
        batch, width, _ = s.shapes[x]
        s.op("ReduceMean", (x,), (batch, width), axes=[2], keepdims=0)


def tabular(s: Sketch, rng: random.Random) -> None:
    """A fully connected network over rows."""
    s.source, widths = rng.choice(MLPS)
    factor = rng.choice((0.5, 1.0, 1.0, 2.0))
    x = s.input(rng.choice(ROWS), widths[0])
    for width in widths[1:]:
        made = s.gemm(x, max(1, round(width * factor)) if width > 8 else width)
        x = activated(s, made, rng.choice(("relu", "relu", "sigmoid", "tanh"))) if width > 8 else made
    s.same("Sigmoid", x)
