"""Records to and from the rows of the store."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from autotune.core import (
    CoRunMeasurement,
    CoRunRecord,
    Failure,
    FailureKind,
    Identity,
    Kernel,
    Lane,
    Measurement,
    Notes,
    ProfileRecord,
    StageRecord,
)
from autotune.core.codec import decode, encode


def to_json(value: Any) -> str:
    """Canonical JSON of a core value: equal values give equal text, so that text can be compared in the data base."""
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=4096)
def lane_json(lane: Lane) -> str:
    """Canonical JSON of a lane."""
    return to_json(lane)


@lru_cache(maxsize=4096)
def identity_json(identity: Identity) -> str:
    """Canonical JSON of an identity."""
    return to_json(identity)


@lru_cache(maxsize=4096)
def lane_of(text: str) -> Lane:
    """The lane that `lane_json` wrote."""
    return decode(Lane, json.loads(text))


@lru_cache(maxsize=4096)
def identity_of(text: str) -> Identity:
    """The identity that `identity_json` wrote."""
    return decode(Identity, json.loads(text))


def kernel_of(text: str) -> Kernel:
    """The kernel that `to_json` wrote."""
    return decode(Kernel, json.loads(text))


def pack_samples(samples_us: tuple[float, ...]) -> bytes:
    """Samples as little-endian float64, exact."""
    packed = array("d", samples_us)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack_samples(blob: bytes) -> tuple[float, ...]:
    """The inverse of `pack_samples`."""
    packed = array("d")
    packed.frombytes(blob)
    if sys.byteorder == "big":
        packed.byteswap()
    return tuple(packed)


def _result_row(record: ProfileRecord | StageRecord) -> dict[str, Any]:
    result = record.result
    row: dict[str, Any] = {
        "lane": lane_json(record.lane),
        "device": record.identity.device,
        "identity": identity_json(record.identity),
        "notes": to_json(record.notes),
    }
    if isinstance(result, Measurement):
        measured = {"samples_us": pack_samples(result.samples_us), "failure_kind": "", "failure_message": ""}
        return row | measured | {"load_s": result.load_s, "peak_bytes": result.peak_bytes}
    failed = {"failure_kind": result.kind.value, "failure_message": result.message}
    return row | failed | {"samples_us": None, "load_s": 0.0, "peak_bytes": 0}


def _result_of(row: Mapping[str, Any]) -> Measurement | Failure:
    if row["samples_us"] is None:
        return Failure(kind=FailureKind(row["failure_kind"]), message=row["failure_message"])
    return Measurement(samples_us=unpack_samples(row["samples_us"]), load_s=row["load_s"], peak_bytes=row["peak_bytes"])


def notes_of(text: str) -> Notes:
    """The notes that `to_json` wrote."""
    return Notes(**json.loads(text))  # flat and of plain types: the codec's checks would cost more than the rest


def profile_row(record: ProfileRecord, signature: str) -> dict[str, Any]:
    """Row of the table `profiles`."""
    return {"signature": signature} | _result_row(record)


def profile_of(row: Mapping[str, Any], kernel: Kernel) -> ProfileRecord:
    """The record in a row of the table `profiles`."""
    return ProfileRecord(
        kernel=kernel,
        lane=lane_of(row["lane"]),
        result=_result_of(row),
        identity=identity_of(row["identity"]),
        notes=notes_of(row["notes"]),
    )


def stage_row(record: StageRecord) -> dict[str, Any]:
    """Row of the table `stages`."""
    return {
        "model_sha256": record.model_sha256,
        "start": record.start,
        "stop": record.stop,
        "kernels": json.dumps(record.kernels, separators=(",", ":")),
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "errors": json.dumps(record.errors, separators=(",", ":")),
        "predicted_us": record.predicted_us,
    } | _result_row(record)


def stage_of(row: Mapping[str, Any]) -> StageRecord:
    """The record in a row of the table `stages`."""
    return StageRecord(
        model_sha256=row["model_sha256"],
        start=row["start"],
        stop=row["stop"],
        kernels=tuple(json.loads(row["kernels"])),
        bytes_in=row["bytes_in"],
        bytes_out=row["bytes_out"],
        lane=lane_of(row["lane"]),
        result=_result_of(row),
        errors=tuple((name, float(value)) for name, value in json.loads(row["errors"])),
        predicted_us=row["predicted_us"],
        identity=identity_of(row["identity"]),
        notes=notes_of(row["notes"]),
    )


def corun_row(record: CoRunRecord, victim: Sequence[str], beside: Sequence[str]) -> dict[str, Any]:
    """Row of the table `coruns`; kernels by their signatures."""
    result = record.result
    row: dict[str, Any] = {
        "victim": signatures_text(victim),
        "victim_lane": lane_json(record.victim_lane),
        "beside": signatures_text(beside),
        "beside_lane": lane_json(record.beside_lane),
        "device": record.identity.device,
        "identity": identity_json(record.identity),
        "notes": to_json(record.notes),
    }
    if isinstance(result, CoRunMeasurement):
        measured = {"alone_us": pack_samples(result.alone_us), "beside_us": pack_samples(result.beside_us)}
        return row | measured | {"failure_kind": "", "failure_message": ""}
    failed = {"failure_kind": result.kind.value, "failure_message": result.message}
    return row | failed | {"alone_us": None, "beside_us": None}


def corun_of(row: Mapping[str, Any], kernels: Mapping[str, Kernel]) -> CoRunRecord:
    """The record in a row of the table `coruns`."""
    result: CoRunMeasurement | Failure
    if row["alone_us"] is None:
        result = Failure(kind=FailureKind(row["failure_kind"]), message=row["failure_message"])
    else:
        result = CoRunMeasurement(alone_us=unpack_samples(row["alone_us"]), beside_us=unpack_samples(row["beside_us"]))
    return CoRunRecord(
        victim=tuple(kernels[signature] for signature in signatures_of(row["victim"])),
        victim_lane=lane_of(row["victim_lane"]),
        beside=tuple(kernels[signature] for signature in signatures_of(row["beside"])),
        beside_lane=lane_of(row["beside_lane"]),
        result=result,
        identity=identity_of(row["identity"]),
        notes=notes_of(row["notes"]),
    )


def signatures_text(signatures: Sequence[str]) -> str:
    """Signatures as one text."""
    return " ".join(signatures)


def signatures_of(text: str) -> tuple[str, ...]:
    """The inverse of `signatures_text`."""
    return tuple(text.split())
