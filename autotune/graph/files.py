"""Reading ONNX files without trusting them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from autotune.errors import ModelFileError, StoreError


def read_structure(path: Path) -> onnx.ModelProto:
    """The model without its external data, after checking that the data lie beside it.

    Raises:
        ModelFileError: no file, not ONNX, truncated, or external data missing, too short or outside the model's folder.
    """
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder: give the ONNX file in it")
    if not path.is_file():
        raise ModelFileError(f"{path} is not a file")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise ModelFileError(f"{path} is not an ONNX file, or is truncated ({error}): export it again") from error
    if not model.ir_version or not (model.graph.node or model.graph.output):
        raise ModelFileError(f"{path} is not an ONNX file: it holds no graph; export it again")
    for tensor in external_tensors(model.graph):
        _check_external(path, tensor)
    return model


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of a control-flow node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def external_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph and its sub-graphs that is stored outside the file."""
    yield from (tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL)
    for node in graph.node:
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                if tensor.data_location == onnx.TensorProto.EXTERNAL:
                    yield tensor
        for body in subgraphs(node):
            yield from external_tensors(body)


def external_entry(tensor: onnx.TensorProto, key: str, default: str = "") -> str:
    """One entry of a tensor's external data (`location`, `offset`, `length`)."""
    return next((entry.value for entry in tensor.external_data if entry.key == key), default)


def _check_external(path: Path, tensor: onnx.TensorProto) -> None:
    location = external_entry(tensor, "location")
    folder = path.parent.resolve()
    target = (folder / location).resolve()
    if (folder / location).is_symlink() and not target.is_relative_to(folder):
        raise ModelFileError(
            f"{path}: the external data file {location!r} is a link to {target}, outside the model's folder; only "
            f"files beside the model are read. Copy both to one folder: cp -rL {path.parent} COPY"
        )
    named = Path(location)
    if not location or named.is_absolute() or ".." in named.parts or not target.is_relative_to(folder):
        raise ModelFileError(
            f"{path}: the weights of {tensor.name!r} point outside the model's folder ({location!r}); "
            "only files beside the model are read, named without '..'"
        )
    if not target.is_file():
        raise ModelFileError(
            f"{path}: the external data file {location!r} of {tensor.name!r} is missing in {folder}: put it there"
        )
    try:
        end = int(external_entry(tensor, "offset", "0")) + int(external_entry(tensor, "length", "0"))
    except ValueError as error:
        raise ModelFileError(
            f"{path}: the external data of {tensor.name!r} has no number as offset ({error})"
        ) from error
    if end > target.stat().st_size:
        raise ModelFileError(f"{path}: {location!r} is truncated: {tensor.name!r} ends at byte {end}")


def bring_external(path: Path, model: onnx.ModelProto, folder: Path) -> None:
    """Copies the model's external data files into `folder` under their own names (ONNX's checker refuses links).

    Raises:
        StoreError: there is no space.
    """
    for location in {external_entry(tensor, "location") for tensor in external_tensors(model.graph)}:
        target = folder / location
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            copy_file((path.parent / location).resolve(), target)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy where links are not possible.

    Raises:
        StoreError: there is no space.
    """
    try:
        os.link(source, target)
    except OSError:
        copy_file(source, target)


def copy_file(source: Path, target: Path) -> None:
    """A copy; the copy stays private to this command.

    Raises:
        StoreError: there is no space.
    """
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        need = source.stat().st_size
        raise StoreError(f"{target} cannot be written ({error.strerror}); {need:,} bytes are needed") from error
