"""Chains over tokens: attention, feed-forward parts, normalisations, a cache of what came before."""

from __future__ import annotations

import math
import random

from onnx import TensorProto

from autotune.datasets.drawn.layers import activated
from autotune.datasets.drawn.sequences import BATCHES, TRANSFORMERS, Transformer
from autotune.datasets.drawn.sketch import Sketch

CHOOSES = 0.6
"""How often the last layer follows that chooses a word."""
FLAT = 0.5
"""How often the feed-forward part is rewritten over rows: it depends on the version of the optimizer."""


def transformer(s: Sketch, rng: random.Random) -> None:
    """One layer of a published transformer, sometimes with what comes before or after all layers."""
    net = rng.choice(TRANSFORMERS)
    s.source = net.source
    tokens, batch = rng.choice(net.tokens), rng.choice(BATCHES)
    if net.source.startswith("Swin"):
        batch = rng.choice((4, 16, 64))  # windows of one image
    if rng.random() < 0.3:
        x = _embedded(s, net, batch, tokens, rng)
    else:
        x = s.input(batch, 1 if net.style == "step" else tokens, net.width)
    if net.style == "step":
        x = _step(s, x, net, tokens)
    elif net.style == "decoder":
        x = _decoder(s, x, net)
    else:
        x = _layer(s, x, net, masked=net.style == "encoder", flat=rng.random() < FLAT)
        if rng.random() < 0.3:
            _pooled(s, x, rng)
            return
    if net.vocabulary and rng.random() < CHOOSES:
        s.dense(x, net.vocabulary, bias=net.style == "encoder")


def _embedded(s: Sketch, net: Transformer, batch: int, tokens: int, rng: random.Random) -> str:
    if net.style == "vision" and net.source.startswith(("ViT", "DeiT")):
        side = math.isqrt(tokens - 1)
        patch = rng.choice((14, 16, 32))
        image = s.input(batch, 3, side * patch, side * patch)
        made = s.op(
            "Conv",
            (image, s.weight(net.width, 3, patch, patch), s.weight(net.width)),
            (batch, net.width, side, side),
            kernel_shape=[patch, patch],
            strides=[patch, patch],
        )
        flat = s.transpose(s.reshape(made, batch, net.width, side * side), 0, 2, 1)
        joined = s.concat([s.input(batch, 1, net.width), flat], axis=1)
        return s.same("Add", joined, s.weight(1, side * side + 1, net.width))
    tokens = 1 if net.style == "step" else tokens
    ids = s.input(batch, tokens, dtype=TensorProto.INT64)
    rows = rng.choice((8_000, 16_000, 30_522, 32_000))
    words = s.op("Gather", (s.weight(min(rows, 16_000_000 // net.width), net.width), ids), (batch, tokens, net.width))
    return s.layer_norm(s.same("Add", words, s.weight(1, tokens, net.width)))


def _layer(s: Sketch, x: str, net: Transformer, *, masked: bool, flat: bool) -> str:
    """After-norm with a mask (BERT) or pre-norm with one product for q, k and v (vision)."""
    batch, tokens, width = s.shapes[x]
    y = x if masked else s.layer_norm(x)
    if masked:
        q, k, v = (s.dense(y, width) for _ in range(3))
        q, v = (_heads(s, name, net.heads) for name in (q, v))
        keys = s.transpose(s.reshape(k, batch, tokens, net.heads, width // net.heads), 0, 2, 3, 1)
    else:
        parts = s.reshape(s.dense(y, 3 * width), batch, tokens, 3, net.heads, width // net.heads)
        apart = s.transpose(parts, 2, 0, 3, 1, 4)
        shape = s.shapes[apart][1:]
        q, k, v = (s.op("Gather", (apart, s.index(at)), shape, axis=0) for at in range(3))
        keys = s.transpose(k, 0, 1, 3, 2)
    mask = s.input(batch, 1, 1, tokens) if masked else ""
    mixed = _attend(s, q, keys, v, mask)
    y = s.same("Add", s.dense(_joined(s, mixed), width), x)
    y = s.layer_norm(y) if masked else y
    z = y if masked else s.layer_norm(y)
    z = s.dense(activated(s, s.dense(z, net.inner, flat=flat), "gelu"), width, flat=flat)
    z = s.same("Add", z, y)
    return s.layer_norm(z) if masked else z


def _attend(s: Sketch, q: str, keys: str, v: str, mask: str = "") -> str:
    scores = s.same("Mul", s.matmul(q, keys), s.number(s.shapes[q][-1] ** -0.5))
    scores = s.same("Add", scores, mask) if mask else scores
    return s.matmul(s.same("Softmax", scores, axis=-1), v)


def _heads(s: Sketch, x: str, heads: int) -> str:
    batch, tokens, width = s.shapes[x]
    return s.transpose(s.reshape(x, batch, tokens, heads, width // heads), 0, 2, 1, 3)


def _joined(s: Sketch, x: str) -> str:
    batch, heads, tokens, size = s.shapes[x]
    return s.reshape(s.transpose(x, 0, 2, 1, 3), batch, tokens, heads * size)


def _rms_norm(s: Sketch, x: str) -> str:
    shape = (*s.shapes[x][:-1], 1)
    mean = s.op("ReduceMean", (s.same("Pow", x, s.number(2.0)),), shape, axes=[-1], keepdims=1)
    root = s.same("Sqrt", s.same("Add", mean, s.number(1e-6)))
    return s.same("Mul", s.same("Div", x, root), s.weight(s.shapes[x][-1]))


def _rotated(s: Sketch, x: str) -> str:
    """Rotary positions: halves swapped, one negated, with cosines and sines from outside."""
    tokens, size = s.shapes[x][2:]
    first, last = s.split(x, (size // 2, size // 2), axis=3)
    turned = s.concat([s.same("Neg", last), first], axis=3)
    cosine, sine = s.input(1, 1, tokens, size), s.input(1, 1, tokens, size)
    return s.same("Add", s.same("Mul", x, cosine), s.same("Mul", turned, sine))


def _decoder(s: Sketch, x: str, net: Transformer) -> str:
    tokens, width = s.shapes[x][1:]
    y = _rms_norm(s, x)
    q, k, v = (_heads(s, s.dense(y, width, bias=False), net.heads) for _ in range(3))
    keys = s.transpose(_rotated(s, k), 0, 1, 3, 2)
    mixed = _attend(s, _rotated(s, q), keys, v, s.input(1, 1, tokens, tokens))
    y = s.same("Add", s.dense(_joined(s, mixed), width, bias=False), x)
    z = _rms_norm(s, y)
    gate = activated(s, s.dense(z, net.inner, bias=False), "silu")
    return s.same("Add", s.dense(s.same("Mul", gate, s.dense(z, net.inner, bias=False)), width, bias=False), y)


def _step(s: Sketch, x: str, net: Transformer, tokens: int) -> str:
    """One new token: its keys and values are joined to a cache."""
    batch, _, width = s.shapes[x]
    y = s.layer_norm(x)
    q, k, v = s.split(s.dense(y, 3 * width), (width,) * 3, axis=2)
    size = width // net.heads
    k, v = (s.concat([s.input(batch, net.heads, tokens, size), _heads(s, name, net.heads)], axis=2) for name in (k, v))
    mixed = _attend(s, _heads(s, q, net.heads), s.transpose(k, 0, 1, 3, 2), v)
    y = s.same("Add", s.dense(_joined(s, mixed), width), x)
    z = activated(s, s.dense(s.layer_norm(y), net.inner), "gelu")
    return s.same("Add", s.dense(z, width), y)


def _pooled(s: Sketch, x: str, rng: random.Random) -> str:
    batch, _, width = s.shapes[x]
    if rng.random() < 0.5:
        first = s.op("ReduceMean", (x,), (batch, width), axes=[1], keepdims=0)
    else:
        first = s.op("Gather", (x, s.index(0)), (batch, width), axis=1)
    return s.same(
        "Softmax", s.gemm(s.same("Tanh", s.gemm(first, width)), rng.choice((2, 3, 5, 77, 512, 1000))), axis=-1
    )
