"""What fusion and layout cost a whole model beyond its kernels, learnt, to see whether it is worth having.

Ridge regression of log(measured / predicted) of whole models on shares of their time and bytes (Hoerl and Kennard,
Technometrics 1970); its penalty has the least error on models left out one by one, in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autotune.core import FAMILIES, Kernel

Vector = npt.NDArray[np.float64]

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""In models."""
IMAGES = ("convolution", "depthwise", "pooling")
"""Families that providers run on images in a layout of their own; elementwise kernels take what they get."""


def traits(kernels: Sequence[Kernel], latency_us: Vector) -> Vector:
    """What a model is like: shares of its time by family and in fused kernels; share of bytes read in another layout.

    Args:
        kernels: in execution order; the one before stands for those whose outputs are read.
        latency_us: of each.
    """
    total_us = float(latency_us.sum())
    by_family = [
        sum(us for kernel, us in zip(kernels, latency_us, strict=True) if kernel.family == family)
        for family in FAMILIES
    ]
    fused = sum(us for kernel, us in zip(kernels, latency_us, strict=True) if len(kernel.nodes) > 1)
    changed, images = 0, False
    for kernel in kernels:
        if kernel.family == "elementwise":
            continue
        if (kernel.family in IMAGES) != images:
            images = not images
            changed += kernel.bytes_read
    read = max(sum(kernel.bytes_read for kernel in kernels), 1)
    return np.array([*(us / total_us for us in by_family), fused / total_us, changed / read])


def learn_residual(shares: Vector, log_ratio: Vector) -> Vector:
    """Weights of traits.

    Args:
        shares: [models, traits].
        log_ratio: [models] log of measured over predicted latency.
    """
    found: list[tuple[float, Vector]] = []
    for penalty in PENALTIES:
        solve = np.linalg.solve(shares.T @ shares + penalty * np.eye(shares.shape[1]), shares.T)
        hat = shares @ solve
        left_out = (log_ratio - hat @ log_ratio) / (1 - np.diag(hat))
        found.append((float(np.abs(left_out).mean()), solve @ log_ratio))
    return min(found, key=lambda pair: pair[0])[1]
