"""How much each feature sets two kernels apart in kriging: what is likeliest over the synthetic kernels of some homes.

    python benchmarks/likeness.py FOLDER [FOLDER ...]    (those that own_device.py measured into)

Type II maximum likelihood (Rasmussen and Williams 2006, chapter 5) of one covariance for all lanes and homes, given
what physics leaves over, for kernels that compute and those that move bytes; kernels of the models play no part.
Prints the constants of `autotune/predictor/kriging.py`.
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
from autotune.predictor.boosted import physics_of
from autotune.predictor.features import kernel_rows
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


def parts_of(records: LaneRecords, synthetic: npt.NDArray[np.bool_], *, cores: int) -> dict[int, Part]:
    """By position in `kriging.KINDS`; features vary as they do over all kernels of the lane."""
    rows = kernel_rows(records.kernels)
    left = np.log(records.latency_us) - physics_of(rows, records.latency_us, records.lane, cores).log_us(rows)
    features = kriging.coordinates(rows).astype(np.float64)
    spread = np.maximum(features.std(axis=0), kriging.LEAST_SPREAD)
    _, alone = kriging.krige(rows, left, most=len(rows))
    found: dict[int, Part] = {}
    for kind in range(len(kriging.KINDS)):
        own = np.flatnonzero(synthetic & (kriging.kind_of(rows) == kind))
        if len(own) < FEWEST:
            continue
        scaled = (features[own] / spread).T
        squares = [(one[:, None] - one) ** 2 for one in scaled]
        squares += [2.0 * (one[:, None] != one) for one in kriging.codes_of(rows[own])]
        trust = kriging.trust_of(alone[own])
        found[kind] = Part(squares=np.stack(squares).astype(np.float32), left=left[own], trust=trust)
    return found


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


def likeliest(kind: int, parts: list[Part]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The constants of one kind, and how likely they are."""
    counts = (one[kind] for one in (*kriging.COUNTS.values(), *kriging.OTHERS.values()))
    now = np.array([*counts, *kriging.APART[kind]])
    begin = np.concatenate([2.0 * np.log(now), np.log([1.0, kriging.NOISE[kind]])])
    plain = np.concatenate([np.zeros(len(now)), begin[len(now) :]])
    found: Any = minimize(unlikelihood, begin, (parts,), jac=True, method="L-BFGS-B", options={"maxiter": ROUNDS})
    constants, variance = np.exp(found.x[: len(NAMES)] / 2.0), float(np.exp(found.x[-2]))
    rows = [
        {"kernels": kriging.KINDS[kind], "feature": name, "counts": round(float(one), 2)}
        for name, one in zip(NAMES, constants, strict=True)
    ]
    return rows, {
        "log_likelihood": -float(found.fun),
        "log_likelihood_of_the_constants_in_use": -unlikelihood(begin, parts)[0],
        "log_likelihood_where_all_count_alike": -unlikelihood(plain, parts)[0],
        "variance": variance,
        "noise_over_variance": float(np.exp(found.x[-1])) / variance,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("homes", nargs="+", type=Path)
    device, lanes = this_device(), []
    parts: dict[int, list[Part]] = {kind: [] for kind in range(len(kriging.KINDS))}
    for home in parser.parse_args().homes:
        data = read(home, device)
        in_models = set().union(*models_of(data.groups).values())
        for records in training_set(data.records, device).lanes:
            synthetic = np.array([signature not in in_models for signature in records.signatures])
            for kind, part in parts_of(records, synthetic, cores=len(device.cores)).items():
                parts[kind].append(part)
                lanes.append({"lane": str(records.lane), "kernels": len(part.left), "that": kriging.KINDS[kind]})
    rows, summary = [], {}
    for kind, own in parts.items():
        constants, summary[kriging.KINDS[kind]] = likeliest(kind, own)
        rows += constants
        print(summary[kriging.KINDS[kind]], *constants, sep="\n", flush=True)
    print(write("likeness", rows, lanes=lanes, **summary))


if __name__ == "__main__":
    main()
