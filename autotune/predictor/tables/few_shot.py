"""A new device from a handful of measured models: latency as a Gaussian process over what other devices made of them.

Bayesian linear regression on a fixed basis: the mean and the differences of known devices, how often each operator
occurs, and where. Which models to measure is chosen before any is measured, greedily, so that the summed posterior
variance over all models falls most (A-optimal design; Pukelsheim, Optimal Design of Experiments, chapter 6). HELP
(Lee et al., NeurIPS 2021), whose protocol this follows, learns the same from random reference models by
meta-learning.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autotune.errors import PredictorError

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

CONSIDERED = 4000
"""Models, drawn at random, among which reference models are chosen and over which the variance is summed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShotSettings:
    """How much each part of the basis is trusted, as prior variances.

    Args:
        mean: of the mean of the known devices.
        devices: of the single known devices.
        counts: of how often each operator occurs.
        places: of which operator stands where.
        noise: of a measurement.
    """

    mean: float = 1.0
    devices: float = 0.3
    counts: float = 1.0
    places: float = 0.1
    noise: float = 0.05


GRID: tuple[FewShotSettings, ...] = tuple(
    FewShotSettings(mean=mean, devices=devices, counts=counts, noise=noise)
    for mean, devices, counts, noise in itertools.product((1.0, 3.0), (0.3, 1.0), (0.3, 1.0), (0.02, 0.05))
)
"""Settings that `tune` tries."""


def hardware(device: str) -> str:
    """A device without its batch size: `titanx_32` and `titanx_1` are one piece of hardware."""
    return re.sub(r"_\d{1,3}$", "", device)


def basis(known_ms: Matrix, choices: npt.NDArray[np.int64], settings: FewShotSettings) -> Matrix:
    """[n, p] basis whose inner products are the prior covariance of latencies (scaled to a variance of about one).

    Args:
        known_ms: [n, s] latencies of the n models on s known devices.
        choices: [n, e] which operator each place of a model holds.
        settings: weights of the parts.

    Raises:
        PredictorError: no known device.
    """
    if known_ms.shape[1] < 1:
        raise PredictorError("few measurements are enough only beside devices that are known: there is none")
    roots = np.sqrt(known_ms)  # between latencies, which add, and their logarithms, which devices scale
    devices = (roots - roots.mean(axis=0)) / np.maximum(roots.std(axis=0), 1e-12)
    mean = devices.mean(axis=1, keepdims=True)
    kinds = np.unique(choices)
    places = np.concatenate([choices == kind for kind in kinds], axis=1).astype(np.float64)
    counts = np.column_stack([(choices == kind).sum(axis=1) for kind in kinds]).astype(np.float64)
    parts = [
        (settings.mean, mean),
        (settings.devices, devices),
        (settings.counts, counts - counts.mean(axis=0)),
        (settings.places, places - places.mean(axis=0)),
    ]
    columns = [np.sqrt(weight / max(float((part**2).sum(axis=1).mean()), 1e-12)) * part for weight, part in parts]
    return np.column_stack([*columns, np.full(len(choices), np.sqrt(0.2))])


def choose_references(phi: Matrix, settings: FewShotSettings, count: int, *, seed: int = 0) -> Index:
    """[count] models to measure on a new device; knows nothing of its latencies."""
    generator = np.random.default_rng(seed)
    candidates, judged = (generator.permutation(len(phi))[:CONSIDERED] for _ in range(2))
    target = phi[judged].T @ phi[judged] / len(judged)
    covariance = np.eye(phi.shape[1])
    chosen: list[int] = []
    for _ in range(count):
        spread = phi[candidates] @ covariance
        variance = (spread * phi[candidates]).sum(axis=1) + settings.noise
        gain = ((spread @ target) * spread).sum(axis=1) / variance
        gain[np.isin(candidates, chosen)] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(int(candidates[best]))
        covariance = covariance - np.outer(spread[best], spread[best]) / variance[best]
    return np.array(chosen, dtype=np.intp)


def adapt(phi: Matrix, settings: FewShotSettings, measured: Index, latency_ms: Vector) -> Vector:
    """[n] predicted ms of all models from the latencies of the measured ones.

    Raises:
        PredictorError: fewer than three measurements, or one that is not positive.
    """
    if len(measured) < 3 or not (latency_ms > 0).all():
        raise PredictorError(f"{len(measured)} measurements, at least 3 positive ones are needed")
    roots = np.sqrt(latency_ms)
    center, spread = float(roots.mean()), max(float(roots.std()), 1e-9)
    seen = phi[measured]
    covariance = seen @ seen.T + settings.noise * np.eye(len(measured))
    found = center + spread * (phi @ (seen.T @ np.linalg.solve(covariance, (roots - center) / spread)))
    result: Vector = np.maximum(found, 1e-6) ** 2
    return result


def tune(
    known_ms: Mapping[str, Vector], choices: npt.NDArray[np.int64], count: int, grid: Sequence[FewShotSettings] = GRID
) -> FewShotSettings:
    """The settings that rank best on known devices, each in turn taken for new, all its batch sizes together."""
    from scipy.stats import spearmanr

    if len({hardware(device) for device in known_ms}) < 3:
        return FewShotSettings()
    scores = []
    for settings in grid:
        found = []
        for device, truth in known_ms.items():
            others = [ms for name, ms in known_ms.items() if hardware(name) != hardware(device)]
            phi = basis(np.column_stack(others), choices, settings)
            chosen = choose_references(phi, settings, count)
            found.append(float(spearmanr(adapt(phi, settings, chosen, truth[chosen]), truth).statistic))
        scores.append(float(np.mean(found)))
    return grid[int(np.argmax(scores))]
