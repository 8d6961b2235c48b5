"""Parts of weights: cut out of the model's weights file and written into a new one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import onnx
from onnx import numpy_helper

from autotune.errors import StoreError
from autotune.graph.files import external_entry
from autotune.graph.prepare import INLINE_BYTES, WEIGHTS_FILE
from autotune.graph.splits.region import Region

_CHUNK = 1 << 20
_ALIGNMENT = 64
"""Bytes; ONNX Runtime maps aligned weights instead of copying them."""


class WeightsWriter:
    """Writes `weights.bin` of a rewritten model; a tensor is in memory only while it is cut.

    Args:
        source: folder with the original's weights.
        target: folder to write to.

    Raises:
        StoreError: there is no space.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._path = target / WEIGHTS_FILE
        self._stream: BinaryIO = self._path.open("wb")

    def __enter__(self) -> WeightsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        empty = self._stream.tell() == 0
        self._stream.close()
        if empty or kind is not None:
            self._path.unlink(missing_ok=True)

    def keep(self, tensors: Iterable[onnx.TensorProto]) -> list[onnx.TensorProto]:
        """The same tensors, at their places in the new file."""
        kept = []
        for tensor in tensors:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                offset, length = _place(tensor)
                moved = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
                with (self._source / external_entry(tensor, "location")).open("rb") as stream:
                    stream.seek(offset)
                    self._point(moved, length)
                    self._copy(stream, length)
                tensor = moved
            kept.append(tensor)
        return kept

    def part(self, tensor: onnx.TensorProto, region: Region, name: str) -> onnx.TensorProto:
        """A range of a tensor under a new name."""
        array = numpy_helper.to_array(self._here(tensor))
        chosen = array[(*[slice(None)] * region.axis, slice(region.start, region.stop))]
        made = numpy_helper.from_array(np.ascontiguousarray(chosen), name)
        if len(made.raw_data) <= INLINE_BYTES:
            return made
        data = made.raw_data
        made.ClearField("raw_data")
        self._point(made, len(data))
        self._write(data)
        return made

    def _here(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        """The tensor with its data: onnx itself reads no file that has several links, as shared weights have."""
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return tensor
        offset, length = _place(tensor)
        with (self._source / external_entry(tensor, "location")).open("rb") as stream:
            stream.seek(offset)
            data = stream.read(length)
        return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=data)

    def _point(self, tensor: onnx.TensorProto, length: int) -> None:
        self._write(bytes(-self._stream.tell() % _ALIGNMENT))
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS_FILE), ("offset", self._stream.tell()), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))

    def _write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written ({error.strerror}): free some space") from error

    def _copy(self, stream: BinaryIO, length: int) -> None:
        left = length
        while left:
            chunk = stream.read(min(left, _CHUNK))
            if not chunk:
                raise StoreError(f"the weights in {self._source} are shorter than the model says: prepare it again")
            self._write(chunk)
            left -= len(chunk)


def _place(tensor: onnx.TensorProto) -> tuple[int, int]:
    return int(external_entry(tensor, "offset", "0")), int(external_entry(tensor, "length", "0"))
