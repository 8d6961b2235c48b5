"""Where synthetic kernels come from: the published network or the model that each was drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.core import Kernel

DRAWN = "drawn from "
"""Before an origin, the name of the group of its synthetic kernels (`Store.groups`)."""
ZOO = {
    "arXiv 1409.1556": "vgg16",
    "arXiv 1505.04597": "unet",
    "arXiv 1512.00567": "inception_v3",
    "arXiv 1512.03385": "resnet50",
    "arXiv 1602.07360": "squeezenet",
    "arXiv 1801.04381": "mobilenet_v2",
    "arXiv 1908.08962": "bert_mini",
    "docs.ultralytics.com": "yolo",
}
"""Publication of drawn networks -> the model of the zoo that is published there too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A synthetic kernel.

    Args:
        kernel: what is measured.
        origins: `source` of the published network that it was drawn from, or the models that have the kernel which it
            is a variation of.
    """

    kernel: Kernel
    origins: tuple[str, ...]


def architecture(group: str) -> str:
    """What the kernels of a group are variations of: groups of one architecture are left out together.

    Args:
        group: a model's name, or an origin behind `DRAWN`.

    Returns:
        A model's own name; of a drawn network the model of the zoo that is kin to it (`ZOO`), else its publication,
        since networks of one publication are sizes of one architecture.
    """
    if not group.startswith(DRAWN):
        return group
    origin = group.removeprefix(DRAWN)
    publication = origin.rpartition(", ")[2]
    return ZOO.get(publication, publication if publication.startswith("arXiv ") else origin)
