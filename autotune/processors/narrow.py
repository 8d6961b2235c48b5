"""Element types that NumPy lacks (bfloat16, 8-bit floats, 4-bit integers), on their way into and out of a session.

ONNX Runtime neither takes nor gives them as arrays. Here they go in as arrays of `ml_dtypes` or as the next wider type
of NumPy's (float32, int8, uint8), and come out as that.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

Array = np.ndarray[Any, Any]

CODES = {
    "bfloat16": 16,
    "float8e4m3fn": 17,
    "float8e4m3fnuz": 18,
    "float8e5m2": 19,
    "float8e5m2fnuz": 20,
    "uint4": 21,
    "int4": 22,
}
"""ONNX Runtime's name of the type -> ONNX's number of it."""


def ort_value(array: Array, kind: str) -> tuple[Any, Array]:
    """An OrtValue of the type that a session names `kind` (`tensor(bfloat16)`), and the array that must outlive it."""
    name = _element(kind)
    if name not in CODES:
        whole = np.ascontiguousarray(array).reshape(array.shape)  # NumPy gives scalars a dimension
        return ort.OrtValue.ortvalue_from_numpy(whole), whole
    bits = _bits(np.asarray(array), name)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, CODES[name]), bits


def adapted(session: ort.InferenceSession) -> Any:
    """The session itself, or one around it that converts where it takes or gives such types."""
    ends = (*session.get_inputs(), *session.get_outputs())
    return NarrowSession(session) if any(_element(item.type) in CODES for item in ends) else session


class NarrowSession:
    """A session whose `run` converts; everything else is the inner session's.

    Args:
        session: with inputs or outputs of types that NumPy lacks.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._kinds = {item.name: item.type for item in session.get_inputs()}
        self._gives = {item.name: item.type for item in session.get_outputs()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
        """As `onnxruntime.InferenceSession.run`."""
        wanted = list(self._gives) if not names else list(names)
        narrow = any(_element(self._gives.get(name, "")) in CODES for name in wanted)
        values, alive = {}, []
        for name, array in feeds.items():
            kind = self._kinds.get(name, "")
            if isinstance(array, np.ndarray) and (narrow or _element(kind) in CODES):
                values[name], bits = ort_value(array, kind)
                alive.append(bits)
            else:
                values[name] = array
        if not narrow:
            return list(self._session.run(wanted, values, options))
        return [_array(value) for value in self._session.run_with_ort_values(wanted, values, options)]


def _element(kind: str) -> str:
    return kind.removeprefix("tensor(").removesuffix(")")


def _bits(array: Array, name: str) -> Array:
    """The array's elements as ONNX Runtime stores them."""
    if name in ("int4", "uint4"):
        return _packed(array)
    wide = np.uint16 if name == "bfloat16" else np.uint8
    if array.dtype.itemsize == wide().itemsize:  # of `ml_dtypes`, or bits already
        return np.ascontiguousarray(array).view(wide).reshape(array.shape)
    if name == "bfloat16":
        word = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
        return ((word + 0x7FFF + ((word >> 16) & 1)) >> 16).astype(np.uint16).reshape(array.shape)
    return np.asarray(array, dtype=np.float32).astype(_type(name)).view(np.uint8).reshape(array.shape)


def _packed(array: Array) -> Array:
    """Two to a byte, the first in the lower half; the buffer keeps the array's shape, its second half is unused."""
    nibbles = array.astype(np.int8).ravel().view(np.uint8) & 0x0F
    pairs = np.concatenate([nibbles, np.zeros(nibbles.size % 2, np.uint8)])
    buffer = np.zeros(array.size, np.uint8)
    buffer[: pairs.size // 2] = pairs[::2] | (pairs[1::2] << 4)
    return buffer.reshape(array.shape)


def _array(value: Any) -> Any:
    """An output as an array."""
    if not value.is_tensor() or _element(value.data_type()) not in CODES:
        return value.numpy()
    name, shape = _element(value.data_type()), tuple(value.shape())
    count = int(np.prod(shape))
    size = {"bfloat16": 2 * count, "int4": (count + 1) // 2, "uint4": (count + 1) // 2}.get(name, count)
    raw = np.frombuffer(ctypes.string_at(value.data_ptr(), size), np.uint8) if size else np.zeros(0, np.uint8)
    if name == "bfloat16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if name in ("int4", "uint4"):
        nibbles = np.stack([raw & 0x0F, raw >> 4], axis=1).ravel()[:count]
        signed = nibbles.astype(np.int8)
        return (np.where(signed > 7, signed - 16, signed).astype(np.int8) if name == "int4" else nibbles).reshape(shape)
    return raw.view(_type(name)).astype(np.float32).reshape(shape)


def _type(name: str) -> Any:
    import ml_dtypes  # only 8-bit floats need it; comes with onnx

    return np.dtype(getattr(ml_dtypes, name.replace("float8", "float8_")))
