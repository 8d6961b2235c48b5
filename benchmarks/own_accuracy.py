"""Judges the records that `own_records.py` measured: kernels and whole models, predicted without their model."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from own_records import AGAIN, kernel_seconds

from autotune.core import Device, Kernel, Lane, Measurement, ProfileRecord, Signatures, StageRecord
from autotune.datasets import DRAWN, Store
from autotune.predictor import KernelPredictor
from autotune.predictor.evaluation import COMPARED, RETEST, Held, accuracy, left_out
from autotune.predictor.training import Groups, models_of, unseen_without, usual_us

RESOLUTION_US = 1.0
"""What the time of a whole kernel alone, tens of µs, minus that of its ends can be told apart by."""
CURVE = (0.1, 0.3, 0.6, 1.0)
SEEDS = 1
"""Of what a point of a curve draws."""
DEFAULT = COMPARED[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a home holds.

    Args:
        device: whose records.
        records: kernels, of models and synthetic.
        again: the models' kernels once more, in other sessions.
        wholes: whole models.
        wholes_again: the same once more.
        groups: as `Store.groups` gives them.
        hashes: model -> its hash.
        kernel_s: spent on measuring `records`.
    """

    device: Device
    records: list[ProfileRecord]
    again: list[ProfileRecord]
    wholes: list[StageRecord]
    wholes_again: list[StageRecord]
    groups: Groups
    hashes: dict[str, str]
    kernel_s: float


def read(home: Path, device: Device) -> Measured:
    def content(folder: Path) -> tuple[list[ProfileRecord], list[StageRecord], Groups, dict[str, str]]:
        with Store(f"sqlite:///{folder / 'profiles.db'}") as store:
            hashes = {name: sha for sha, (name, _) in store.models().items() if not name.startswith(DRAWN)}
            return store.kernels(device=device.id), store.stages(device=device.id), store.groups(), hashes

    records, wholes, groups, hashes = content(home)
    again, wholes_again, *_ = content(home / AGAIN)
    return Measured(
        device=device,
        records=records,
        again=again,
        wholes=wholes,
        wholes_again=wholes_again,
        groups=groups,
        hashes=hashes,
        kernel_s=kernel_seconds(home),
    )


def retested(data: Measured) -> list[Held]:
    """Each kernel of a model: the first measurement is the truth, the second the prediction, at one speed."""
    truth, again = _even(data.records), _even(data.again, like=data.records)
    return [
        Held(
            learner=RETEST,
            lane=str(lane),
            family=record.kernel.family,
            signature=signature,
            measured_us=truth[signature, lane][1],
            predicted_us=again_us,
        )
        for (signature, lane), (record, again_us) in again.items()
        if (signature, lane) in truth
    ]


def _even(
    records: Sequence[ProfileRecord], *, like: Sequence[ProfileRecord] = ()
) -> dict[tuple[str, Lane], tuple[ProfileRecord, float]]:
    """Each kernel's record and its latency, at the speed that its lane usually has in these (or other) records."""
    signatures = Signatures()
    measured = [(record, record.result) for record in records if isinstance(record.result, Measurement)]
    usual = _usual(like or records)
    return {
        (signatures.of(record.kernel), record.lane): (
            record,
            result.median_us * record.notes.slower_when(usual.get(record.lane, 0.0)),
        )
        for record, result in measured
    }


def _usual(records: Sequence[ProfileRecord]) -> dict[Lane, float]:
    """What the sentinel of each lane usually took beside these records, in µs."""
    return {lane: usual_us(r for r in records if r.lane == lane) for lane in {r.lane for r in records}}


def rows_of(held: Sequence[Held], uses: Mapping[str, int]) -> list[dict[str, Any]]:
    """Accuracy by learner, lane and family, each also over all."""
    found: dict[tuple[str, str, str], list[Held]] = {}
    for one in held:
        for lane in (one.lane, "all"):
            for family in (one.family, "all"):
                found.setdefault((one.learner, lane, family), []).append(one)
    return [
        {"learner": name, "lane": lane, "family": family} | shares(pairs, uses)
        for (name, lane, family), pairs in sorted(found.items())
    ]


def shares(pairs: Sequence[Held], uses: Mapping[str, int]) -> dict[str, Any]:
    """Shares of kernels; `by_time_10` weighs each with the time that the models spend in it."""
    got = accuracy(pairs, lane="")
    off = np.array([abs(pair.predicted_us - pair.measured_us) for pair in pairs])
    measured = np.array([pair.measured_us for pair in pairs])
    weight = measured * [max(uses.get(pair.signature, 1), 1) for pair in pairs]
    near = off <= 0.1 * measured
    return {
        "count": got.count,
        "within_5": got.within_5,
        "within_10": got.within_10,
        "within_10_or_1us": float(np.mean(near | (off <= RESOLUTION_US))),
        "by_time_10": float(np.average(near, weights=weight)),
        "median_error": float(np.median(off / measured)),
        "mape": got.mape,
    }


def curve(data: Measured, keep: Callable[[str], bool], parts: Sequence[float]) -> list[dict[str, Any]]:
    """Accuracy on models left out when a share of the kernels of each kind is known; mean over draws."""
    names = Signatures()
    everything = {names.of(record.kernel) for record in data.records}
    kernels = sorted(filter(keep, everything))
    tested = set().union(*models_of(data.groups).values())
    points = []
    for part in parts:
        drawn = []
        for seed in range(SEEDS if part < 1 else 1):
            known = set(random.Random(seed).sample(kernels, round(part * len(kernels))))
            drawn.append(_learnt_from(data, known, tested, seed))
        lanes = sorted(drawn[0])
        points.append(
            {
                "share": part,
                "kernels": round(part * len(kernels)),
                "minutes": part * data.kernel_s * len(kernels) / len(everything) / 60,
                "within_10": {lane: float(np.mean([one[lane] for one in drawn])) for lane in lanes},
            }
        )
    return points


def _learnt_from(data: Measured, known: set[str], tested: set[str], seed: int) -> dict[str, float]:
    """Share within ±10 % by lane of all the models' kernels, when only `known` ones are learnt from."""
    signatures = Signatures()
    found: dict[str, list[bool]] = {}
    even, usual = _even(data.records), _usual(data.records)
    by_lane: dict[Lane, list[tuple[str, Kernel, float]]] = {}
    for (signature, lane), (record, us) in even.items():
        if signature in tested:
            by_lane.setdefault(lane, []).append((signature, record.kernel, us))
    for name, own in models_of(data.groups).items():
        hidden = unseen_without(data.groups, [name])
        rest = [r for r in data.records if signatures.of(r.kernel) in known and signatures.of(r.kernel) not in hidden]
        predictor = KernelPredictor(seed=seed, device=data.device).fit(rest, data.groups, calibrate=False)
        for lane in predictor.lanes:
            held = [(kernel, us) for signature, kernel, us in by_lane[lane] if signature in own]
            predicted = predictor.predict_us([kernel for kernel, _ in held], lane, sentinel_us=usual[lane])
            near = np.abs(predicted / np.array([us for _, us in held]) - 1) <= 0.1
            found.setdefault(str(lane), []).extend(near.tolist())
    return {lane: float(np.mean(near)) for lane, near in found.items()} | {
        "all": float(np.mean([one for near in found.values() for one in near]))
    }


def speeds(data: Measured) -> dict[str, dict[str, float]]:
    """What the sentinel of each lane took at its fastest beside the first measurement and beside the second, in µs."""
    lanes = sorted({record.lane for record in data.records}, key=str)
    return {
        str(lane): {
            name: _usual(records).get(lane, 0.0) for name, records in (("first", data.records), ("again", data.again))
        }
        for lane in lanes
    }


def compared(data: Measured) -> list[Held]:
    """The models' kernels by all learners, models left out, and measured once more; the predictor's with intervals."""
    ours = left_out(data.records, data.groups, data.device, learners=(DEFAULT,), coverage=True)
    others = left_out(data.records, data.groups, data.device, learners=COMPARED[1:])
    judged = {(one.signature, one.lane) for one in ours}  # not those known from a disturbed machine only
    return ours + others + [one for one in retested(data) if (one.signature, one.lane) in judged]


def covered(held: Sequence[Held], wholes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often 90 % intervals hold, by lane: of kernels, of kernels by model left out, and of whole models.

    Args:
        held: kernels of models left out; intervals of each were calibrated without its model.
        wholes: as from `whole_models`.
    """
    found = []
    ours = [one for one in held if one.learner == DEFAULT]
    for lane in [*sorted({one.lane for one in ours}), "all"]:
        own = [one for one in ours if lane in (one.lane, "all")]
        by_model = {
            model: float(np.mean([one.covered for one in own if one.fold == model]))
            for model in sorted({one.fold for one in own})
        }
        models = [row for row in wholes if lane in (row["lane"], "all")]
        inside = [row["low_ms"] <= row["measured_ms"] <= row["high_ms"] for row in models]
        found.append(
            {
                "lane": lane,
                "kernels": len(own),
                "of_kernels": float(np.mean([one.covered for one in own])),
                "of_kernels_by_model": by_model,
                "median_factor": float(np.median([one.high_us / one.predicted_us for one in own])),
                "whole_models": len(models),
                "of_whole_models": float(np.mean(inside)) if inside else None,
                "whole_median_factor": float(np.median([row["high_ms"] / row["predicted_ms"] for row in models])),
            }
        )
    return found
