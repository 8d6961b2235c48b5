"""Inputs on which outputs mean something: photographs for vision, token sequences for text, or what the user gives."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from autotune.core import STAND_INS, TensorSpec
from autotune.errors import InputError
from autotune.models.registry import get

Array = np.ndarray[Any, Any]
Sample = dict[str, Array]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VOCABULARY = 30_522
PHOTOGRAPHS = ("china.jpg", "flower.jpg")


def sample_inputs(name: str, inputs: Sequence[TensorSpec], *, count: int, seed: int = 0) -> list[Sample]:
    """Real inputs for a network of the zoo.

    Vision: crops and flips of the two photographs that scikit-learn ships, resized and normalised. Text: token ids
    with a
    padded end.

    Args:
        name: in the zoo.
        inputs: the model's inputs.
        count: how many samples.
        seed: of the crops and tokens.
    """
    rng = np.random.default_rng(seed)
    if get(name).kind == "text":
        return [_tokens(inputs, rng) for _ in range(count)]
    photographs = _photographs()
    return [{spec.name: _crop(photographs[at % 2], spec, rng) for spec in inputs} for at in range(count)]


def _photographs() -> list[Array]:
    """The photographs in scikit-learn's folder: importing the package for them would take a second and a half."""
    from PIL import Image

    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputError("the sample photographs are scikit-learn's: pip install scikit-learn")
    folder = Path(package.origin).parent / "datasets" / "images"
    return [np.asarray(Image.open(folder / name), dtype=np.float32) / 255 for name in PHOTOGRAPHS]


def _crop(photograph: Array, spec: TensorSpec, rng: np.random.Generator) -> Array:
    """A random square crop, flipped at random, resized to the input and normalised, repeated for a batch."""
    shape = spec.shape or (1, 3, 224, 224)
    high, wide = photograph.shape[:2]
    side = int(rng.integers(min(high, wide) // 2, min(high, wide)))
    top, left = int(rng.integers(0, high - side + 1)), int(rng.integers(0, wide - side + 1))
    part = photograph[top : top + side, left : left + side]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    image = (_resize(part, shape[2], shape[3]) - MEAN) / STD
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
    return np.repeat(planes, shape[0], axis=0)


def _resize(image: Array, high: int, wide: int) -> Array:
    """Bilinear interpolation between the centres of pixels."""
    rows = np.clip((np.arange(high) + 0.5) * image.shape[0] / high - 0.5, 0, image.shape[0] - 1)
    columns = np.clip((np.arange(wide) + 0.5) * image.shape[1] / wide - 0.5, 0, image.shape[1] - 1)
    top, left = rows.astype(int), columns.astype(int)
    bottom, right = np.minimum(top + 1, image.shape[0] - 1), np.minimum(left + 1, image.shape[1] - 1)
    down, along = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = image[top][:, left] * (1 - along) + image[top][:, right] * along
    lower = image[bottom][:, left] * (1 - along) + image[bottom][:, right] * along
    return np.asarray(upper * (1 - down) + lower * down)


def _tokens(inputs: Sequence[TensorSpec], rng: np.random.Generator) -> Sample:
    found: Sample = {}
    shape = next(tuple(spec.shape) for spec in inputs if spec.shape)
    length = int(rng.integers(shape[1] // 2, shape[1] + 1))
    present = (np.arange(shape[1]) < length)[None].repeat(shape[0], axis=0)
    for spec in inputs:
        if "mask" in spec.name:
            found[spec.name] = present.astype(spec.dtype)
        elif "type" in spec.name:
            found[spec.name] = (np.arange(shape[1]) >= length // 2)[None].repeat(shape[0], axis=0).astype(spec.dtype)
        else:
            found[spec.name] = (rng.integers(1000, VOCABULARY, shape) * present).astype(spec.dtype)
    return found


def load_inputs(paths: Sequence[Path], inputs: Sequence[TensorSpec]) -> list[Sample]:
    """Samples from npz files and ONNX `test_data_set_*` folders.

    An npz file holds one array per input, named as the input; with one more dimension in front there are several
    samples.

    Args:
        paths: files and folders; a folder may also hold several `test_data_set_*`.
        inputs: what the model takes; -1 in a shape accepts any size.

    Raises:
        InputError: a name, type or shape that does not fit, with what was expected.
    """
    found: list[Sample] = []
    for path in paths:
        found += _from_folder(path, inputs) if path.is_dir() else _from_npz(path, inputs)
    return found


def settled_shapes(path: Path, inputs: Mapping[str, tuple[int, ...] | None]) -> dict[str, tuple[int, ...]]:
    """What a first sample says of the inputs whose shapes are open, in the sizes that are open.

    Args:
        path: see `load_inputs`.
        inputs: shapes of all inputs in their order; -1 where any size is accepted, None where any rank is.

    Raises:
        InputError: the file cannot be read.
    """
    whole = path.is_dir()
    arrays = _stored(_folders(path)[0], list(inputs)) if whole else _arrays(path, list(inputs))
    ranked = {name: shape for name, shape in inputs.items() if shape is not None}
    first = 0 if whole or not _several(arrays, ranked) else 1
    shapes = {name: arrays[name].shape[first:] for name in inputs if name in arrays}
    return {
        name: tuple(has if size < 0 else size for size, has in zip(want or (-1,) * len(shape), shape, strict=True))
        for name, shape in shapes.items()
        if (want := inputs[name]) is None or (-1 in want and len(want) == len(shape))
    }


def _from_npz(path: Path, inputs: Sequence[TensorSpec]) -> list[Sample]:
    arrays = _arrays(path, [spec.name for spec in inputs])
    _check_names(path, arrays, inputs)
    return _split(path, arrays, inputs)


def _arrays(path: Path, names: Sequence[str]) -> dict[str, Array]:
    if not path.exists():
        raise InputError(f"no such file: {path}")
    if not zipfile.is_zipfile(path):
        named = ", ".join(f"{name}=…" for name in names)
        raise InputError(
            f"{path} is no npz file, or a truncated one: write it with numpy.savez({path.name!r}, {named})"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path} cannot be read as npz ({error}): use numpy.savez with plain arrays") from error


def _check_names(path: Path, arrays: Mapping[str, Array], inputs: Sequence[TensorSpec]) -> None:
    expected = {spec.name for spec in inputs}
    listed = ", ".join(f"{s.name} {s.dtype}{list(s.shape or ())}" for s in inputs)
    missing, unknown = expected - set(arrays), set(arrays) - expected
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}; the model takes {listed}")
    if unknown:
        raise InputError(f"{path} has {', '.join(sorted(unknown))}, which the model does not take: {listed}")


def _split(path: Path, arrays: Mapping[str, Array], inputs: Sequence[TensorSpec]) -> list[Sample]:
    """One sample, or several where every array has one more dimension than its input."""
    several = _several(arrays, {s.name: s.shape or () for s in inputs})
    counts = {len(arrays[s.name]) for s in inputs} if several else {1}
    if counts == {0}:
        raise InputError(f"{path} holds no sample: its arrays have 0 along the first axis")
    if len(counts) != 1:
        raise InputError(f"{path}: the inputs have different numbers of samples: {sorted(counts)}")
    samples = []
    for at in range(counts.pop()):
        sample = {s.name: arrays[s.name][at] if several else arrays[s.name] for s in inputs}
        samples.append({spec.name: _checked(path, spec, sample[spec.name]) for spec in inputs})
    return samples


def _several(arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether every array has one more dimension than its input."""
    return bool(shapes) and all(name in arrays and arrays[name].ndim == len(own) + 1 for name, own in shapes.items())


def _checked(path: Path, spec: TensorSpec, array: Array) -> Array:
    """The array, if it fits. A type that NumPy lacks comes as `ml_dtypes`, as its bits (npz) or as a wider type."""
    stand_in = STAND_INS.get(spec.dtype)
    if stand_in is not None and array.dtype.kind == "V" and array.dtype.name.startswith("void"):
        import ml_dtypes

        narrow = np.dtype(getattr(ml_dtypes, spec.dtype))
        array = array.view(narrow) if array.dtype.itemsize == narrow.itemsize else array
    if array.dtype.name not in (spec.dtype, stand_in) and not (spec.dtype == "string" and array.dtype.kind in "UO"):
        wanted = stand_in or ("str" if spec.dtype == "string" else spec.dtype)
        raise InputError(
            f"{path}: {spec.name} has type {array.dtype}, the model takes {spec.dtype}: store array.astype({wanted!r})"
        )
    shape = spec.shape or ()
    if len(shape) != array.ndim or any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)):
        several = ", ".join(map(str, ("N", *shape)))
        raise InputError(
            f"{path}: {spec.name} has shape {list(array.shape)}, it should be {list(shape)}, or [{several}] for N "
            "samples. If the model leaves these dimensions open, `autotune search` makes a plan for them with "
            f"--shape {spec.name}={','.join(map(str, array.shape))}"
        )
    return array


def _from_folder(path: Path, inputs: Sequence[TensorSpec]) -> list[Sample]:
    samples = []
    for folder in _folders(path):
        found = _stored(folder, [spec.name for spec in inputs])
        samples.append(
            {spec.name: _checked(folder / f"input_{at}.pb", spec, found[spec.name]) for at, spec in enumerate(inputs)}
        )
    return samples


def _folders(path: Path) -> list[Path]:
    folders = [path] if any(path.glob("input_*.pb")) else sorted(path.glob("test_data_set_*"))
    if not folders:
        raise InputError(f"{path} holds neither input_0.pb nor test_data_set_* folders")
    return folders


def _stored(folder: Path, names: Sequence[str]) -> Sample:
    """The tensors of one `test_data_set_*`, by the inputs in their order."""
    sample = {}
    for at, name in enumerate(names):
        file = folder / f"input_{at}.pb"
        if not file.is_file():
            raise InputError(f"{folder} lacks input_{at}.pb for the input {name}")
        tensor = onnx.TensorProto()
        try:
            tensor.ParseFromString(file.read_bytes())
            sample[name] = numpy_helper.to_array(tensor)
        except Exception as error:
            raise InputError(f"{file} is not a stored tensor: {error}") from error
    return sample
