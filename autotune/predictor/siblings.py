"""Lanes of one processor and precision fill each other's gaps: what a kernel takes there says what it takes here.

They differ by threads and other settings, so that the ratio of two of them changes gently from kernel to kernel: level,
slope and families (`correction.py`), then like kernels (`kriging.py`), learnt from the kernels that both have. A kernel
that only the sibling has is learnt from as if it had been measured here. A neighbour of the machine disturbs lanes with
several threads most, and most of their records can then not be believed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autotune.predictor.correction import corrected
from autotune.predictor.features import KernelRows, Matrix
from autotune.predictor.kriging import krige
from autotune.predictor.training import MIN_RECORDS, LaneRecords

Vector = npt.NDArray[np.float64]

MOST = 1000
"""Kernels of a lane up to which it is filled; with more it has its own, and like kernels are asked of no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a lane learns from.

    Args:
        part: its own records.
        siblings: those of others of its kind, the most similar first.
        features: of all their kernels.
    """

    part: LaneRecords
    siblings: tuple[LaneRecords, ...]
    features: KernelRows

    def without(self, signatures: frozenset[str]) -> Known:
        """The same where nobody has measured these kernels."""
        part, *siblings = (one.without(signatures) for one in (self.part, *self.siblings))
        return replace(self, part=part, siblings=tuple(siblings))

    def filled(self) -> tuple[Matrix, Vector]:
        """Its own records, then what its siblings say of other kernels; with few kernels in common they say nothing.

        Returns:
            [N] kernel features and [N] latencies in µs; the first ones are those of `part`, in its order.
        """
        rows, latency_us = _rows(self.part, self.features), self.part.latency_us
        if not self.siblings or len(rows) >= MOST:
            return rows, latency_us
        place = {signature: at for at, signature in enumerate(self.part.signatures)}
        present = set(place)
        for sibling in self.siblings:
            names = sibling.signatures
            both = np.array([at for at, name in enumerate(names) if name in place], dtype=np.intp)
            new = np.array([at for at, name in enumerate(names) if name not in present], dtype=np.intp)
            new = new[: MOST - len(rows)]  # in the order of signatures, that is, at random
            if len(both) < MIN_RECORDS or not len(new):
                continue
            measured = self.part.latency_us[[place[names[at]] for at in both]]
            theirs = _rows(sibling, self.features)
            said = _said(theirs, np.log(sibling.latency_us), both, np.log(measured), new)
            rows, latency_us = np.vstack([rows, theirs[new]]), np.concatenate([latency_us, np.exp(said)])
            present.update(names[at] for at in new)
        return rows, latency_us


def _said(rows: Matrix, known: Vector, both: npt.NDArray[np.intp], log_us: Vector, new: npt.NDArray[np.intp]) -> Vector:
    """[new] natural logarithms of latencies here, from those known there and those of both."""
    correction = corrected(known[both], rows[both], log_us)
    near, _ = krige(rows[both], log_us - correction.log_us(known[both], rows[both]), most=MOST)
    result: Vector = correction.log_us(known[new], rows[new]) + near.log_factor(rows[new])
    return result


def _rows(part: LaneRecords, features: KernelRows) -> Matrix:
    unique, inverse = features.take(part.kernels)
    return unique[inverse]
