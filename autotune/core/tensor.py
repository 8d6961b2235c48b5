"""What is known of a tensor before it has values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from autotune.errors import ModelError

BITS_PER_ELEMENT = {
    "bool": 8, "int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32,
    "int64": 64, "uint64": 64, "float16": 16, "bfloat16": 16, "float32": 32, "float64": 64, "complex64": 64,
    "complex128": 128, "float8_e4m3fn": 8, "float8_e4m3fnuz": 8, "float8_e5m2": 8, "float8_e5m2fnuz": 8,
    "string": 128,
}  # fmt: skip

STAND_INS = {
    "bfloat16": "float32", "float8_e4m3fn": "float32", "float8_e4m3fnuz": "float32", "float8_e5m2": "float32",
    "float8_e5m2fnuz": "float32", "int4": "int8", "uint4": "uint8",
}  # fmt: skip
"""Types that NumPy lacks -> NumPy's type that holds their values where they are stored or compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, element type and shape of a tensor.

    Args:
        name: the tensor's name.
        dtype: NumPy's name of the element type (`float32`), or `bfloat16`, `float8_e4m3fn`, `int4`, …, `string`.
        shape: dimensions; -1 where one depends on data, None where the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None

    def __post_init__(self) -> None:
        if self.dtype not in BITS_PER_ELEMENT:
            raise ModelError(f"tensor {self.name!r} has the unknown element type {self.dtype!r}")

    @property
    def is_static(self) -> bool:
        """Whether every dimension is known."""
        return self.shape is not None and -1 not in self.shape

    @property
    def elements(self) -> int:
        """Number of elements; 0 where the shape is not static."""
        return math.prod(self.shape) if self.is_static and self.shape is not None else 0

    @property
    def bytes(self) -> int:
        """Size in bytes; 0 where the shape is not static."""
        shape = self.shape
        if shape is None or -1 in shape:
            return 0
        return math.prod(shape) * BITS_PER_ELEMENT[self.dtype] // 8  # in bits first: two int4 share a byte


def total_bytes(tensors: Iterable[TensorSpec]) -> int:
    """Size of several tensors in bytes."""
    total = 0
    for tensor in tensors:
        total += tensor.bytes
    return total
