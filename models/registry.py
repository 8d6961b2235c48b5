"""Names of the zoo, each with what was published about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

import onnx

from autotune.errors import UnknownNameError, UsageError

RANDOM_WEIGHTS = "architecture only, random weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """A reference network.

    Args:
        name: in the zoo.
        module: where its `build` is.
        sizes: what `build` takes as `size` (vision: height and width of the images) or `sequence` (text: tokens).
        parameters: published number of parameters.
        flops: published floating-point operations of one inference, 2 per multiply-accumulate.
        published: where those figures come from.
        kind: `vision` or `text`: what its sample inputs are.
        source: what its weights are.
    """

    name: str
    module: str
    sizes: range
    parameters: int
    flops: float
    published: str
    kind: str = "vision"
    source: str = RANDOM_WEIGHTS

    def build(self, **sizes: int) -> onnx.ModelProto:
        """The network as an ONNX model; `sizes` overrides `size`, `sequence` or `seed`."""
        builder = cast("Callable[..., onnx.ModelProto]", import_module(f"autotune.models.{self.module}").build)
        return builder(**sizes)

    def sizes_of(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """What `build` takes so that the inputs get these shapes; nothing where they do not say it.

        Args:
            shapes: by input, the batch first; what contradicts the network otherwise, `load` refuses.

        Raises:
            UsageError: images that are not square, or a size that the network cannot be built for.
        """
        rank, what = (4, "size") if self.kind == "vision" else (2, "sequence")
        for name, shape in shapes.items():
            if len(shape) != rank:
                continue
            given = f"--shape {name}={','.join(map(str, shape))}: {self.name}"
            if len(set(shape[rank // 2 :])) > 1:
                raise UsageError(f"{given} takes square images, give it the same height and width")
            if shape[-1] not in self.sizes:
                first, second, last = self.sizes[0], self.sizes[1], self.sizes[-1]
                raise UsageError(f"{given} can be built for {what}s {first}, {second}, … {last}, not for {shape[-1]}")
            return {what: shape[-1]}
        return {}


_ZOO = (
    ZooModel(
        name="yolo",
        module="yolo",
        sizes=range(32, 2049, 32),
        parameters=3_157_200,
        flops=8.7e9,
        published="Ultralytics YOLOv8n, docs.ultralytics.com/models/yolov8: 3.2 M parameters, 8.7 GFLOPs at 640",
    ),
    ZooModel(
        name="mobilenet_v2",
        module="mobilenet_v2",
        sizes=range(32, 2049),
        parameters=3_504_872,
        flops=2 * 300.8e6,
        published="torchvision mobilenet_v2: 3,504,872 parameters, 0.30 G multiply-accumulates at 224",
    ),
    ZooModel(
        name="resnet50",
        module="resnet50",
        sizes=range(32, 2049),
        parameters=25_557_032,
        flops=2 * 4.089e9,
        published="torchvision resnet50: 25,557,032 parameters, 4.09 G multiply-accumulates at 224",
    ),
    ZooModel(
        name="squeezenet",
        module="squeezenet",
        sizes=range(32, 2049),
        parameters=1_235_496,
        flops=2 * 0.349e9,
        published="torchvision squeezenet1_1: 1,235,496 parameters, 0.35 G multiply-accumulates at 224",
    ),
    ZooModel(
        name="inception_v3",
        module="inception_v3",
        sizes=range(75, 2049),
        parameters=23_834_568,
        flops=2 * 5.713e9,
        published="torchvision inception_v3, no auxiliary head: 23.83 M parameters, 5.71 G multiply-accumulates at 299",
    ),
    ZooModel(
        name="vgg16",
        module="vgg16",
        sizes=range(32, 257, 32),
        parameters=138_357_544,
        flops=2 * 15.47e9,
        published="torchvision vgg16: 138,357,544 parameters, 15.47 G multiply-accumulates at 224",
    ),
    ZooModel(
        name="unet",
        module="unet",
        sizes=range(16, 2049, 16),
        parameters=31_042_434,
        flops=2 * 48.2e9,
        published="U-Net (Ronneberger et al., 2015), same padding: 31.04 M parameters in the common port; FLOPs from "
        "the paper's layer table at 256 with three input and two output channels",
    ),
    ZooModel(
        name="bert_mini",
        module="bert_mini",
        sizes=range(2, 513),
        parameters=11_170_560,
        flops=0.87e9,
        published="google/bert_uncased_L-4_H-256_A-4 (Turc et al., 2019): 11.17 M parameters; 12·L·H²·S + 2·L·S²·H "
        "multiply-accumulates for L 4, H 256, S 128",
        kind="text",
    ),
)
_BY_NAME = {model.name: model for model in _ZOO}


def names() -> tuple[str, ...]:
    """Names of the zoo."""
    return tuple(_BY_NAME)


def get(name: str) -> ZooModel:
    """The network of this name.

    Raises:
        UnknownNameError: there is none; lists the zoo.
    """
    if name not in _BY_NAME:
        raise UnknownNameError("model", name, known=names())
    return _BY_NAME[name]


def build(name: str, **sizes: int) -> onnx.ModelProto:
    """The network of this name as an ONNX model."""
    return get(name).build(**sizes)


def save(name: str, path: Path, **sizes: int) -> None:
    """Writes the network of this name to a file, its weights to another beside it, as large models are kept."""
    onnx.save_model(build(name, **sizes), str(path), save_as_external_data=True, location=f"{path.name}.data")
