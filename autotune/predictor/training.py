"""From records to what can be learnt from: one device, one identity per lane, measurements only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from autotune.core import (
    Device,
    Identity,
    Kernel,
    Lane,
    Measurement,
    Prediction,
    ProfileRecord,
    Signatures,
    fastest_sentinel_us,
)
from autotune.datasets.drawn import DRAWN, architecture
from autotune.errors import PredictorError

MIN_RECORDS = 20
"""Records of a lane under which trees would only repeat noise."""
ENOUGH_CALM = 5 * MIN_RECORDS
"""Kernels of a lane measured on a calm machine, with which those measured on a disturbed one only teach its noise."""
PROFILE_S = 0.35
"""Seconds that one kernel on one lane takes to profile (`benchmarks/own_device.py` prints it)."""

Groups = Mapping[str, Collection[str]]
"""Model name -> signatures of its kernels; `DRAWN` + origin -> those of synthetic kernels (`Store.groups`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRecords:
    """What was measured on one lane: kernels, their signatures and median latencies, repeats joined by the median.

    Latencies are brought to one speed of the machine: that at which its sentinel takes `sentinel_us` (0: unknown).

    Args:
        lane: the lane.
        identity: of all of them.
        kernels: [K] in the order of their signatures.
        signatures: [K] theirs.
        latency_us: [K] median of each.
        repeated: [R] position of a kernel that was measured again.
        repeats_us: [R, 2] a measurement of it and the next one.
        sentinel_us: what the lane's sentinel takes at the speed of these latencies.
    """

    lane: Lane
    identity: Identity
    kernels: tuple[Kernel, ...]
    signatures: tuple[str, ...]
    latency_us: npt.NDArray[np.float64]
    repeated: npt.NDArray[np.intp]
    repeats_us: npt.NDArray[np.float64]
    sentinel_us: float = 0.0

    def keep(self, chosen: npt.NDArray[np.bool_]) -> LaneRecords:
        """Only these kernels; `chosen` says of each whether it stays."""
        at = np.flatnonzero(chosen).tolist()
        again = chosen[self.repeated]
        return replace(
            self,
            kernels=tuple([self.kernels[i] for i in at]),
            signatures=tuple([self.signatures[i] for i in at]),
            latency_us=self.latency_us[chosen],
            repeated=(np.cumsum(chosen) - 1)[self.repeated[again]],
            repeats_us=self.repeats_us[again],
        )

    def without(self, signatures: Collection[str]) -> LaneRecords:
        """The same without these kernels."""
        return self.keep(np.array([own not in signatures for own in self.signatures], dtype=bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """All lanes of one device.

    Args:
        device: the device's identifier.
        lanes: ordered by their text.
        failures: records that hold a failure; they teach nothing about latency.
        stale: records of an older identity of their lane (another version of a provider).
    """

    device: str
    lanes: tuple[LaneRecords, ...]
    failures: int
    stale: int

    @property
    def count(self) -> int:
        """Kernels × lanes."""
        return sum(len(lane.kernels) for lane in self.lanes)

    @property
    def signatures(self) -> list[str]:
        """Of all kernels, sorted."""
        return sorted({signature for part in self.lanes for signature in part.signatures})

    def without(self, signatures: Collection[str]) -> TrainingSet:
        """The same without these kernels; lanes that have no others are gone."""
        left_out = frozenset(signatures)
        rest = (part.without(left_out) for part in self.lanes)
        return replace(self, lanes=tuple(part for part in rest if part.kernels))

    @property
    def hash(self) -> str:
        """12 hexadecimal digits over lanes, signatures and latencies."""
        digest = hashlib.sha256()
        for part in self.lanes:
            digest.update(str(part.lane).encode())
            digest.update("".join(part.signatures).encode())
            digest.update(part.latency_us.tobytes())
        return digest.hexdigest()[:12]


Records = Sequence[ProfileRecord] | TrainingSet
"""What is learnt from: records one by one, or sorted; hundreds of thousands come by column (`training_columns`)."""


def sorted_out(records: Records, device: Device | None = None) -> TrainingSet:
    """The records as a training set, where they are none yet; arguments and errors as of `training_set`."""
    return records if isinstance(records, TrainingSet) else training_set(records, device)


def training_set(records: Sequence[ProfileRecord], device: Device | None = None) -> TrainingSet:
    """Sort records by lane; of several identities of a lane the one measured last counts, whenever it was imported.

    Raises:
        PredictorError: records of several devices, of another device than `device`, or none at all.
    """
    devices = one_device((record.identity.device for record in records), device, "Store.kernels")
    measured = [(record, record.result) for record in records if isinstance(record.result, Measurement)]
    newest = {record.lane: record.identity for record, _ in sorted(measured, key=lambda pair: pair[0].notes.time)}
    current: dict[Lane, list[tuple[ProfileRecord, Measurement]]] = {lane: [] for lane in newest}
    for pair in measured:
        if pair[0].identity == newest[pair[0].lane]:
            current[pair[0].lane].append(pair)
    signatures = Signatures()
    lanes: dict[Lane, dict[str, tuple[Kernel, list[float]]]] = {lane: {} for lane in newest}
    speeds: dict[Lane, float] = {}
    for lane, own in current.items():
        names = [signatures.of(record.kernel) for record, _ in own]
        fastest = fastest_sentinel_us(record.notes for record, _ in own)
        disturbed = np.array([record.notes.disturbed(fastest) for record, _ in own])
        codes = (np.unique(texts, return_inverse=True)[1] for texts in (names, [one.kernel.family for one, _ in own]))
        believed = np.flatnonzero(calm_where_there_are(disturbed, *codes)).tolist()
        speeds[lane] = usual_us(own[at][0] for at in believed)
        for at in believed:
            record, result = own[at]
            us = result.median_us * record.notes.slower_when(speeds[lane])
            lanes[lane].setdefault(names[at], (record.kernel, []))[1].append(us)
    if not lanes:
        raise nothing_measured(len(records))
    parts = [_lane_records(lane, newest[lane], kernels, speeds[lane]) for lane, kernels in lanes.items()]
    return TrainingSet(
        device=devices[0],
        lanes=tuple(sorted(parts, key=lambda part: str(part.lane))),
        failures=len(records) - len(measured),
        stale=len(measured) - sum(map(len, current.values())),
    )


def one_device(found: Iterable[str], device: Device | None, source: str) -> list[str]:
    """The identifier that all records have, in a list; empty where there are no records.

    Raises:
        PredictorError: records of several devices, or of another device than `device`.
    """
    devices = sorted(set(found))
    if len(devices) > 1 or (device is not None and devices not in ([], [device.id])):
        wanted = device.id if device is not None else devices[0]
        raise PredictorError(
            f"records of the devices {', '.join(devices)} can't be mixed: pass those of {wanted} only "
            f"(`{source}(device={wanted!r})`)."
        )
    return devices


def nothing_measured(records: int) -> PredictorError:
    """The error for records none of which holds a measurement."""
    return PredictorError(
        f"no measured kernels in {records} records: at least {MIN_RECORDS} of one lane are needed, "
        f"about {math.ceil(PROFILE_S * MIN_RECORDS)} s of `autotune profile` per lane."
    )


def calm_where_there_are(
    disturbed: npt.NDArray[np.bool_], kernel: npt.NDArray[np.intp], family: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Which records of a lane are learnt from.

    A neighbour adds some microseconds to every kernel, which no factor mends: of a kernel only what was measured on a
    calm machine counts where there is any, and kernels without only where few of the lane, or of their family, have
    some: a family of which nothing is known is off by more.

    Args:
        disturbed: [R] whether the machine was, by record.
        kernel: [R] which kernel, as a number.
        family: [R] its family, as a number.
    """
    calm_kernels = np.zeros(int(kernel.max(initial=-1)) + 1, dtype=bool)
    calm_kernels[kernel[~disturbed]] = True
    enough = np.zeros(int(family.max(initial=-1)) + 1, dtype=bool)
    if calm_kernels.sum() >= ENOUGH_CALM:
        _, first = np.unique(kernel, return_index=True)
        enough = np.bincount(family[first], weights=calm_kernels[kernel[first]], minlength=len(enough)) >= MIN_RECORDS
    found: npt.NDArray[np.bool_] = ~disturbed | ~(calm_kernels[kernel] | enough[family])
    return found


def usual_us(records: Iterable[ProfileRecord]) -> float:
    """Median of what the sentinel took beside these records; 0 where none knows it."""
    known = [record.notes.sentinel_us for record in records if record.notes.sentinel_us > 0]
    return float(np.median(known)) if known else 0.0


def _lane_records(
    lane: Lane, identity: Identity, kernels: dict[str, tuple[Kernel, list[float]]], sentinel_us: float
) -> LaneRecords:
    ordered = sorted(kernels)
    again = [(at, pair) for at, signature in enumerate(ordered) for pair in pairwise(kernels[signature][1])]
    return LaneRecords(
        lane=lane,
        identity=identity,
        kernels=tuple(kernels[signature][0] for signature in ordered),
        signatures=tuple(ordered),
        latency_us=np.array([np.median(kernels[signature][1]) for signature in ordered]),
        repeated=np.array([at for at, _ in again], dtype=np.intp),
        repeats_us=np.array([pair for _, pair in again]).reshape(-1, 2),
        sentinel_us=sentinel_us,
    )


def require(data: TrainingSet) -> None:
    """Check that at least one lane has enough records.

    Raises:
        PredictorError: none has; the message says how many are there and how many are needed.
    """
    if not data.lanes:
        raise nothing_measured(0)
    most = max(data.lanes, key=lambda part: len(part.kernels))
    if len(most.kernels) < MIN_RECORDS:
        raise PredictorError(
            f"{len(most.kernels)} measured kernels on {most.lane} are too few to learn from, {MIN_RECORDS} are needed: "
            f"run `autotune profile --model yolo` or another model; {MIN_RECORDS - len(most.kernels)} more take about "
            f"{math.ceil(PROFILE_S * (MIN_RECORDS - len(most.kernels)))} s per lane."
        )


def models_of(groups: Groups | None) -> dict[str, Collection[str]]:
    """The groups that are models, by name."""
    return {name: own for name, own in sorted((groups or {}).items()) if not name.startswith(DRAWN)}


def unseen_without(groups: Groups, models: Collection[str]) -> set[str]:
    """Signatures that nothing is learnt from where these models are left out: theirs, and those drawn from them.

    What was drawn from a published network counts as drawn from the model that is kin to it (`architecture`); synthetic
    kernels whose origin is not known stay.
    """
    return set().union(*(own for name, own in groups.items() if architecture(name) in models))


def owners(groups: Groups | None) -> dict[str, str]:
    """The first model that has it, else the architecture that it was drawn from, by signature."""
    owner: dict[str, str] = {}
    for name, own in (models_of(groups) | dict(sorted((groups or {}).items()))).items():
        for signature in own:
            owner.setdefault(signature, architecture(name))
    return owner


def folds_of(signatures: Sequence[str], groups: Groups | None, folds: int) -> npt.NDArray[np.intp]:
    """Fold of each signature: kernels of one architecture share it (`owners`), others each by its hash."""
    owner = owners(groups)
    units = [owner.get(signature, signature) for signature in signatures]
    if len(set(units)) < folds:  # one or two models and nothing else: the next best is by kernel
        units = list(signatures)
    sizes: dict[str, int] = {}
    for unit in units:
        sizes[unit] = sizes.get(unit, 0) + 1
    filled = [0] * folds
    placed: dict[str, int] = {}
    for unit in sorted(sizes, key=lambda name: (-sizes[name], name)):
        placed[unit] = filled.index(min(filled))
        filled[placed[unit]] += sizes[unit]
    return np.array([placed[unit] for unit in units], dtype=np.intp)


def predictions(median_us: npt.NDArray[np.float64], factor: npt.NDArray[np.float64]) -> list[Prediction]:
    """Predictions whose intervals reach from median / factor to median × factor."""
    return [
        Prediction(median_us=m, low_us=m / f, high_us=m * f)
        for m, f in zip(median_us.tolist(), np.maximum(factor, 1.0).tolist(), strict=True)
    ]
