"""Gives every dimension of a model's inputs a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from autotune.errors import UnknownNameError, UnresolvedDimensionError, UsageError

BATCH_NAMES = {"batch", "batch_size", "n", "bs", "b", "batchsize"}


def model_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are no initializers (old files list both)."""
    known = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in known]


def fix_dimensions(
    model: onnx.ModelProto,
    path: Path,
    *,
    shapes: Mapping[str, Sequence[int]],
    dims: Mapping[str, int],
    replace: bool = False,
) -> None:
    """Writes values into the input shapes of `model`: as asked for, a batch 1, nothing else.

    Args:
        model: is changed.
        path: its file, for the message.
        shapes: full shapes by input.
        dims: values by symbolic dimension.
        replace: whether `shapes` may also contradict what the model says (for batches).

    Raises:
        UsageError: an unknown input or dimension, a wrong rank, a contradiction.
        UnresolvedDimensionError: dimensions without a value remain; the message holds the flags to paste.
    """
    inputs = {value.name: value for value in model_inputs(model.graph)}
    symbols = {d.dim_param for value in inputs.values() for d in _dimensions(value) if d.dim_param}
    for name in shapes:
        if name not in inputs:
            raise UnknownNameError("input in --shape", name, known=inputs)
    for name in dims:
        if name not in symbols:
            raise UnknownNameError("dimension in --dim", name, known=sorted(symbols))
    bound = dict(dims)
    for name, shape in shapes.items():
        _apply_shape(inputs[name], shape, bound, replace=replace)
    for value in inputs.values():
        for at, dim in enumerate(_dimensions(value)):
            if dim.dim_param in bound:
                dim.dim_value = bound[dim.dim_param]
            elif not _known(dim) and _is_batch(at, dim.dim_param, inputs):
                dim.dim_value = 1
    if any(_is_open(value) for value in inputs.values()):
        raise _unresolved(path, inputs)
    if bound or shapes:
        del model.graph.value_info[:]
        for output in model.graph.output:
            for dim in _dimensions(output):
                if replace or not dim.HasField("dim_value"):
                    dim.Clear()


def _dimensions(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim) if value.type.HasField("tensor_type") else []


def _known(dim: onnx.TensorShapeProto.Dimension) -> bool:
    return bool(dim.HasField("dim_value") and dim.dim_value >= 0)


def _lacks_rank(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")


def _is_open(value: onnx.ValueInfoProto) -> bool:
    return _lacks_rank(value) or any(not _known(dim) for dim in _dimensions(value))


def _is_batch(at: int, symbol: str, inputs: Mapping[str, onnx.ValueInfoProto]) -> bool:
    """A dimension is a batch by its name, or if it stands first and its symbol, if any, stands nowhere but first."""
    if symbol.lower() in BATCH_NAMES:
        return True
    elsewhere = any(d.dim_param == symbol for value in inputs.values() for d in _dimensions(value)[1:])
    return at == 0 and not (symbol and elsewhere)


def _apply_shape(value: onnx.ValueInfoProto, shape: Sequence[int], bound: dict[str, int], *, replace: bool) -> None:
    dimensions = _dimensions(value)
    if _lacks_rank(value):
        value.type.tensor_type.shape.SetInParent()
        dimensions = [value.type.tensor_type.shape.dim.add() for _ in shape]
    if len(shape) != len(dimensions):
        raise UsageError(
            f"--shape {value.name}={_text(shape)} has {len(shape)} dimensions, the input has {len(dimensions)}: "
            f"{describe(value)}"
        )
    for dim, size in zip(dimensions, shape, strict=True):
        if _known(dim) and dim.dim_value != size and not replace:
            raise UsageError(f"--shape {value.name}={_text(shape)} contradicts the model, which has {describe(value)}")
        if dim.dim_param and bound.setdefault(dim.dim_param, size) != size:
            raise UsageError(f"{dim.dim_param!r} would be both {bound[dim.dim_param]} and {size}")
    for dim, size in zip(dimensions, shape, strict=True):
        dim.dim_value = size


def _text(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))


def describe(value: onnx.ValueInfoProto) -> str:
    """`images[batch,3,height,width]`."""
    dims = ["..."] if _lacks_rank(value) else []
    dims += [str(d.dim_value) if _known(d) else d.dim_param or "?" for d in _dimensions(value)]
    return f"{value.name}[{','.join(dims)}]"


def _unresolved(path: Path, inputs: Mapping[str, onnx.ValueInfoProto]) -> UnresolvedDimensionError:
    open_inputs = [value for value in inputs.values() if _is_open(value)]
    symbols = sorted({d.dim_param for v in open_inputs for d in _dimensions(v) if not _known(d) and d.dim_param})
    flags = [("--dim", f"{symbol}=VALUE") for symbol in symbols]
    for value in open_inputs:
        if _lacks_rank(value):
            flags.append(("--shape", f"{value.name}=VALUE,VALUE"))
        elif any(not _known(d) and not d.dim_param for d in _dimensions(value)):
            dims = [str(d.dim_value) if _known(d) else "VALUE" for d in _dimensions(value)]
            flags.append(("--shape", f"{value.name}={','.join(dims)}"))
    listed = ", ".join(describe(value) for value in open_inputs)
    listed += " (... stands for any number of them)" if any(_lacks_rank(value) for value in open_inputs) else ""
    shapes = {
        name: None if _lacks_rank(value) else tuple(d.dim_value if _known(d) else -1 for d in _dimensions(value))
        for name, value in inputs.items()
    }
    return UnresolvedDimensionError(str(path), listed, inputs=shapes, flags=flags)
