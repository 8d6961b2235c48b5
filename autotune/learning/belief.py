"""What the committees believe of kernels on lanes, and how far they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from autotune.core import Kernel, Lane, Measurement, ProfileRecord
from autotune.predictor import MIN_RECORDS
from autotune.predictor.committee import Bootstrap, Committee
from autotune.predictor.features import KernelRows
from autotune.predictor.learner import Learner
from autotune.predictor.prior import NOMINAL
from autotune.predictor.training import LaneRecords, training_set

Vector = npt.NDArray[np.float64]

UNKNOWN = 1.0
"""Disagreement about a lane of which there is no record: a factor of e."""
LEAST_NOISE = 0.03
"""Log error that no measurement is believed to be under: launches differ by 2-7 % (docs/decisions.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneBelief:
    """One lane's committee.

    Args:
        digest: of the records that it learnt from; the same records need no second training.
        committee: what it learnt.
        records: how many they were.
        noise: log error of a measurement on this lane.
    """

    digest: int
    committee: Committee
    records: int
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """All lanes' committees.

    Args:
        lanes: those with records.
        cores: of the device.
    """

    lanes: Mapping[Lane, LaneBelief] = field(default_factory=dict)
    cores: int = 1

    def settled(self, lane: Lane) -> LaneBelief | None:
        """The lane's, None while it has too few records, of whatever models, for agreement to mean anything."""
        own = self.lanes.get(lane)
        return own if own is not None and own.records >= MIN_RECORDS else None

    def predict(self, kernels: Sequence[Kernel], lane: Lane, rows: KernelRows) -> tuple[Vector, Vector]:
        """Natural logarithm of the latency in µs, and the committee's standard deviation of it, per kernel."""
        unique, inverse = rows.take(kernels)
        own = self.lanes.get(lane)
        if own is None:
            near = self._similar(lane)
            mean = NOMINAL.log_us(unique) if near is None else near.committee.log_us(unique, lane, self.cores)
            return mean[inverse], np.full(len(kernels), UNKNOWN)
        votes = own.committee.votes(unique, lane, self.cores)
        return votes.mean(axis=0)[inverse], votes.std(axis=0)[inverse]

    def _similar(self, lane: Lane) -> LaneBelief | None:
        found = [own for known, own in self.lanes.items() if known.kind == lane.kind]
        return max(found, key=lambda own: own.records, default=None)


def believe(
    records: Sequence[ProfileRecord], before: Belief, *, learner: Learner | None = None, seed: int = 0
) -> Belief:
    """Train a committee per lane; a lane whose records are those of `before` keeps its committee.

    Args:
        records: of one device; failures are skipped.
        before: what was believed.
        learner: of the members, a `Bootstrap` of small trees unless given.
        seed: of the samples.
    """
    bootstrap = Bootstrap() if learner is None else Bootstrap(inner=learner)
    measured = [record for record in records if isinstance(record.result, Measurement)]
    if not measured:
        return before
    noise = _noise(measured)
    found: dict[Lane, LaneBelief] = {}
    for part in training_set(measured).lanes:
        digest = hash((part.signatures, part.latency_us.tobytes()))
        known = before.lanes.get(part.lane)
        same = known is not None and known.digest == digest
        found[part.lane] = (
            known
            if same and known is not None
            else _lane_belief(part, digest, noise[part.lane], bootstrap, before, seed)
        )
    return Belief(lanes=found, cores=before.cores)


def _lane_belief(
    part: LaneRecords, digest: int, noise: float, bootstrap: Bootstrap, before: Belief, seed: int
) -> LaneBelief:
    unique, inverse = KernelRows().take(part.kernels)
    committee = bootstrap.fit(unique[inverse], part.latency_us, part.lane, before.cores, seed=seed)
    return LaneBelief(digest=digest, committee=committee, records=len(part.kernels), noise=noise)


def _noise(records: Sequence[ProfileRecord]) -> dict[Lane, float]:
    """By lane: the usual half width of a median's interval, in logarithms."""
    widths: dict[Lane, list[float]] = {}
    for record in records:
        if isinstance(record.result, Measurement):
            low, high = record.result.interval_us
            widths.setdefault(record.lane, []).append(float(np.log(high / low)) / 2)
    return {lane: max(LEAST_NOISE, float(np.median(own))) for lane, own in widths.items()}
