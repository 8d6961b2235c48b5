"""How much each feature sets two kernels apart in kriging: what is likeliest over the synthetic kernels of some homes.

    python benchmarks/likeness.py FOLDER [FOLDER ...]    (those that own_device.py measured into)

Type II maximum likelihood (Rasmussen and Williams 2006, chapter 5) of one covariance for all lanes and homes, given
what physics leaves over; kernels of the models play no part. Prints the constants of `autotune/predictor/kriging.py`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import write
from own_accuracy import read
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from autotune.predictor import kriging
from autotune.predictor.features import kernel_rows
from autotune.predictor.physics import fit_physics
from autotune.predictor.training import LaneRecords, models_of, training_set
from autotune.processors import this_device

Vector = npt.NDArray[np.float64]

NAMES = (*kriging.COUNTS, *kriging.OTHERS, "family", "main operator", "activation")
FEWEST = 60
"""Synthetic kernels of a lane that say something."""
PRIOR_SPREAD = 2.0
"""Of the logarithm of a squared constant around that of 1, so that one that does not matter stays finite."""
ROUNDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A lane of one home.

    Args:
        squares: [feature, K, K] squared distances by feature, of constants that are 1.
        left: [K] what physics leaves over, natural logarithm.
        trust: [K] how far records are believed.
    """

    squares: npt.NDArray[np.float32]
    left: Vector
    trust: Vector


def part_of(records: LaneRecords) -> Part:
    rows = kernel_rows(records.kernels)
    left = np.log(records.latency_us) - fit_physics(rows, records.latency_us).log_us(rows)
    features = kriging.coordinates(rows).astype(np.float64)
    spread = np.maximum(features.std(axis=0), kriging.LEAST_SPREAD)
    squares = [((own[:, None] - own) / width) ** 2 for own, width in zip(features.T, spread, strict=True)]
    squares += [2.0 * (own[:, None] != own) for own in kriging.kinds_of(rows)]
    _, alone = kriging.krige(rows, left, most=len(rows))
    return Part(squares=np.stack(squares).astype(np.float32), left=left, trust=kriging.trust_of(alone))


def unlikelihood(logs: Vector, parts: list[Part]) -> tuple[float, Vector]:
    """Negative logarithm of the likelihood and its gradient.

    Args:
        logs: logarithms of the squared constants, of the variance, and of the noise's.
        parts: lanes.
    """
    count, total, slope = len(NAMES), 0.0, np.zeros_like(logs)
    squared, (variance, noise) = np.exp(logs[:count]).astype(np.float32), np.exp(logs[count:])
    nearer = 3.0 / kriging.LENGTH**2
    for part in parts:
        distance = np.sqrt(np.maximum(nearer * np.tensordot(squared, part.squares, 1).astype(np.float64), 1e-12))
        falling = variance * np.exp(-distance)
        covariance, own_noise = (1.0 + distance) * falling, noise / part.trust
        factor = cho_factor(covariance + np.diag(own_noise), lower=True)
        weights, inverse = cho_solve(factor, part.left), cho_solve(factor, np.eye(len(part.left)))
        total += float(0.5 * part.left @ weights + np.log(np.diag(factor[0])).sum())
        pull = 0.5 * (inverse - np.outer(weights, weights))
        by_square = (pull * (-0.5 * nearer * falling)).astype(np.float32)
        slope[:count] += np.tensordot(part.squares, by_square, axes=([1, 2], [0, 1])) * squared
        slope[count:] += (pull * covariance).sum(), (np.diag(pull) * own_noise).sum()
    total += 0.5 * float(np.sum((logs[:count] / PRIOR_SPREAD) ** 2))
    slope[:count] += logs[:count] / PRIOR_SPREAD**2
    return total, slope


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("homes", nargs="+", type=Path)
    device, parts, lanes = this_device(), [], []
    for home in parser.parse_args().homes:
        data = read(home, device)
        in_models = set().union(*models_of(data.groups).values())
        for records in training_set(data.records, device).lanes:
            synthetic = records.keep(np.array([signature not in in_models for signature in records.signatures]))
            if len(synthetic.kernels) >= FEWEST:
                parts.append(part_of(synthetic))
                lanes.append({"lane": str(records.lane), "kernels": len(synthetic.kernels)})
    now = np.array([*kriging.COUNTS.values(), *kriging.OTHERS.values(), *kriging.APART])
    begin = np.concatenate([2.0 * np.log(now), np.log([1.0, kriging.NOISE])])
    plain = np.concatenate([np.zeros(len(now)), begin[len(now) :]])
    found: Any = minimize(unlikelihood, begin, (parts,), jac=True, method="L-BFGS-B", options={"maxiter": ROUNDS})
    constants = np.exp(found.x[: len(NAMES)] / 2.0)
    rows = [{"feature": name, "counts": round(float(one), 2)} for name, one in zip(NAMES, constants, strict=True)]
    for row in rows:
        print(row)
    summary = {
        "log_likelihood": -float(found.fun),
        "log_likelihood_of_the_constants_in_use": -unlikelihood(begin, parts)[0],
        "log_likelihood_where_all_count_alike": -unlikelihood(plain, parts)[0],
        "variance": float(np.exp(found.x[-2])),
        "noise": float(np.exp(found.x[-1])),
    }
    print(summary, lanes)
    print(write("likeness", rows, lanes=lanes, **summary))


if __name__ == "__main__":
    main()
