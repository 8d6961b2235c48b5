"""Whole models left out, from predicted kernels and what stages of other models cost, beside the measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from own_accuracy import Measured
from own_residual import learn_residual, traits

from autotune.api.even_times import fastest_sentinels
from autotune.core import Kernel, Lane, Measurement, Prediction, ProfileRecord, Signatures, StageRecord
from autotune.predictor import KernelPredictor, StagePredictor
from autotune.predictor.stage_cost import StageCost, default_cost
from autotune.predictor.training import training_set, unseen_without

Vector = npt.NDArray[np.float64]
FORMS = (
    "kernels alone",
    "and default ends",
    "and learnt ends",
    "predicted",
    "with residual",
    "from measured kernels",
)
"""Ways to predict a whole model; `predicted` is what is delivered: default or learnt ends, as the other models say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Kernels of all models as they were measured, at the fastest speed of their lane.

    Args:
        records: measured ones, those measured again too.
        kernels: by signature.
        us: median by signature and lane.
        fastest_us: the lane's sentinel at its fastest.
        signatures: of the kernel objects.
    """

    records: list[ProfileRecord]
    kernels: dict[str, Kernel]
    us: dict[tuple[str, Lane], float]
    fastest_us: dict[Lane, float]
    signatures: Signatures


def known_of(data: Measured) -> Known:
    signatures = Signatures()
    records = [r for r in (*data.records, *data.again) if isinstance(r.result, Measurement)]
    fastest = fastest_sentinels(records)
    us = {
        (signature, part.lane): latency_us * fastest[part.lane] / part.sentinel_us
        for part in training_set(records, data.device).lanes
        for signature, latency_us in zip(part.signatures, part.latency_us.tolist(), strict=True)
    }
    return Known(
        records=records,
        kernels={signatures.of(record.kernel): record.kernel for record in records},
        us=us,
        fastest_us=fastest,
        signatures=signatures,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """What is known where a model is left out: its kernels are predicted, the others' measured.

    Args:
        known: of all models.
        predictor: has not seen the model's kernels; its intervals are calibrated without them.
        others: whole models, without this one.
        gated: what stages cost, learnt only where that pays on models left out of the others.
        learnt: the same, learnt in any case.
    """

    known: Known
    predictor: KernelPredictor
    others: list[StageRecord]
    gated: StagePredictor
    learnt: StagePredictor

    @classmethod
    def model(cls, data: Measured, known: Known, wholes: Sequence[StageRecord], model: str) -> Without:
        hidden = unseen_without(data.groups, [model])
        rest = [record for record in known.records if known.signatures.of(record.kernel) not in hidden]
        predictor = KernelPredictor(device=data.device).fit(rest, data.groups)
        others = [record for record in wholes if record.model_sha256 != data.hashes[model]]

        def us(wanted: Sequence[str], lane: Lane) -> Vector:
            return _measured_us(known, predictor, wanted, lane)

        return cls(
            known=known,
            predictor=predictor,
            others=others,
            gated=StagePredictor.fit(others, us),
            learnt=StagePredictor.fit(others, us, margin=float("inf")),
        )

    def measured_us(self, record: StageRecord) -> Vector:
        """Of each kernel, predicted where it was not measured."""
        return _measured_us(self.known, self.predictor, record.kernels, record.lane)

    def predict(self, record: StageRecord) -> list[Prediction]:
        kernels = [self.known.kernels[signature] for signature in record.kernels]
        return self.predictor.predict(kernels, record.lane, sentinel_us=self.known.fastest_us[record.lane])

    def residual(self, record: StageRecord, kernel_us: Vector) -> float:
        """What whole models of the other models say of fusion and layout: a factor for this one."""
        same = [other for other in self.others if other.lane == record.lane]
        if len(same) < 2:
            return 1.0
        shares, logs = [], []
        for other in same:
            us = self.measured_us(other)
            shares.append(traits([self.known.kernels[s] for s in other.kernels], us))
            said = self.gated.predict_us(us.sum(), other.bytes_in, other.bytes_out, other.lane)
            logs.append(float(np.log(_us(other) / said)))
        weights = learn_residual(np.array(shares), np.array(logs))
        return float(np.exp(traits([self.known.kernels[s] for s in record.kernels], kernel_us) @ weights))


def _measured_us(known: Known, predictor: KernelPredictor, wanted: Sequence[str], lane: Lane) -> Vector:
    said = predictor.predict_us([known.kernels[s] for s in wanted], lane, sentinel_us=known.fastest_us[lane])
    return np.array([known.us.get((s, lane), us) for s, us in zip(wanted, said, strict=True)])


def _us(record: StageRecord) -> float:
    return record.result.median_us if isinstance(record.result, Measurement) else float("nan")


def whole_models(data: Measured) -> list[dict[str, Any]]:
    """By model and lane: measured, measured again, predicted in all `FORMS`, and the interval of what is delivered.

    All records are learnt from, those measured again too, and everything is brought to the fastest speed of its lane.
    The model left out is in nothing that is learnt or chosen: neither kernels nor stages nor the choice of ends.
    """
    known = known_of(data)
    wholes = {(r.model_sha256, r.lane): r for r in data.wholes if isinstance(r.result, Measurement)}
    again = {(r.model_sha256, r.lane): r for r in data.wholes_again if isinstance(r.result, Measurement)}
    rows = []
    for model, sha256 in data.hashes.items():
        without = Without.model(data, known, list(wholes.values()), model)
        for lane in without.predictor.lanes:
            if (own := wholes.get((sha256, lane))) is None:
                continue
            row: dict[str, Any] = {"model": model, "lane": str(lane), "measured_ms": _us(own) / 1e3}
            if (second := again.get((sha256, lane))) is not None:
                row["measured_again_ms"] = _us(second) / 1e3
            rows.append(row | _predicted(without, own))
    return rows


def _predicted(without: Without, own: StageRecord) -> dict[str, float]:
    cost, ends = without.gated.coefficients(own.lane), (own.bytes_in, own.bytes_out)
    kernels = without.predict(own)
    kernel_us = np.array([one.median_us for one in kernels])
    forms: dict[str, StageCost] = {
        "kernels alone": replace(cost, scale=1.0, call_us=0.0, per_byte_in_us=0.0, per_byte_out_us=0.0),
        "and default ends": default_cost(own.lane.processor),
        "and learnt ends": without.learnt.coefficients(own.lane),
        "predicted": cost,
    }
    found = {name: float(form.predict_us(kernel_us.sum(), *ends)) for name, form in forms.items()}
    found["with residual"] = found["predicted"] * without.residual(own, kernel_us)
    found["from measured kernels"] = float(cost.predict_us(without.measured_us(own).sum(), *ends))
    shared = without.predictor.model_for(own.lane).calibration.shared
    whole = without.gated.predict(kernels, *ends, own.lane, shared=shared)
    found |= {"low": whole.low_us, "high": whole.high_us}
    return {f"{name}_ms": us / 1e3 for name, us in found.items()}


def whole_summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Median and worst relative error over models, by lane and over all."""
    found = []
    for lane in [*sorted({row["lane"] for row in rows}), "all"] if rows else []:
        own = [row for row in rows if lane in (row["lane"], "all")]
        entry: dict[str, Any] = {"lane": lane, "models": len({row["model"] for row in own})}
        for name in ("measured_again", *FORMS):
            errors = [abs(row[f"{name}_ms"] / row["measured_ms"] - 1) for row in own if f"{name}_ms" in row]
            if errors:
                entry[f"{name}: median error"] = float(np.median(errors))
                entry[f"{name}: worst"] = float(np.max(errors))
        found.append(entry)
    return found
