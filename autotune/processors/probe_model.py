"""The model that a provider is tried on, written without the `onnx` package: production loads plans without it.

Field numbers are those of `onnx.proto`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHANNELS, SIZE, LAYERS = 32, 24, 6
SHAPE = (1, CHANNELS, SIZE, SIZE)
INPUT, OUTPUT = "t0", f"t{LAYERS}"
_FLOAT, _INTS = 1, 7


def probe_input() -> np.ndarray:
    """Normally distributed values, always the same."""
    return np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)


def probe_model() -> bytes:
    """A chain of convolutions with He-scaled weights, each followed by Relu."""
    rng = np.random.default_rng(0)
    scale = (2 / (9 * CHANNELS)) ** 0.5
    graph = b""
    for at in range(LAYERS):
        weight = rng.standard_normal((CHANNELS, CHANNELS, 3, 3), dtype=np.float32) * np.float32(scale)
        pads = _text(1, "pads") + b"".join(_number(8, 1) for _ in range(4)) + _number(20, _INTS)
        graph += _field(1, _node("Conv", [f"t{at}", f"w{at}"], f"c{at}") + _field(5, pads))
        graph += _field(1, _node("Relu", [f"c{at}"], f"t{at + 1}"))
        dims = b"".join(_number(1, size) for size in weight.shape)
        graph += _field(5, dims + _number(2, _FLOAT) + _text(8, f"w{at}") + _field(9, weight.tobytes()))
    graph += _text(2, "probe") + _field(11, _value(INPUT)) + _field(12, _value(OUTPUT))
    return _number(1, 9) + _field(7, graph) + _field(8, _text(1, "") + _number(2, 17))


def _node(kind: str, inputs: Sequence[str], output: str) -> bytes:
    return b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, kind)


def _value(name: str) -> bytes:
    shape = b"".join(_field(1, _number(1, size)) for size in SHAPE)
    return _text(1, name) + _field(2, _field(1, _number(1, _FLOAT) + _field(2, shape)))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, value: str) -> bytes:
    return _field(field, value.encode())
