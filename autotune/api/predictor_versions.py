"""Versions of the predictors in a home folder: what they are, and going back to an earlier one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import PredictorError
from autotune.predictor import champion_version, load, promote, versions
from autotune.predictor.registry import folder_of, used_before
from autotune.predictor.storage import damaged, read_card


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorVersion:
    """One version of a predictor.

    Args:
        version: `v0003`.
        device: identifier of the device it is for.
        in_use: whether searches on that device use it.
        records: kernels × lanes it was trained on.
        hash: of them.
        learner: what it learnt with; `adapted`: with the help of other devices' records where that was better.
        lanes: how many it knows of its own records.
        helped: how many of them are known devices' predictions, corrected by what was measured here.
        within_10: share of kernels of models left out that it predicts within ±10 %; None where it was not evaluated.
        problem: why it cannot be read; empty where it can.
    """

    version: str
    device: str
    in_use: bool
    records: int
    hash: str
    within_10: float | None
    learner: str = ""
    lanes: int = 0
    helped: int = 0
    problem: str = ""


def predictor_versions(home: Path) -> tuple[PredictorVersion, ...]:
    """All versions in a home folder, oldest first; one that cannot be read has a `problem`."""
    return tuple(_version(home, version) for version in versions(home))


def _version(home: Path, version: str) -> PredictorVersion:
    try:
        return _described(home, version)
    except PredictorError as error:
        return PredictorVersion(
            version=version, device="", in_use=False, records=0, hash="", within_10=None, problem=str(error)
        )


def _described(home: Path, version: str) -> PredictorVersion:
    """What its card says; PredictorError where that is not all."""
    folder = folder_of(home, version)
    card = read_card(folder)
    try:
        rows = card.get("accuracy", {}).get("rows", [])
        shares = [row["within_10"] for row in rows if row["learner"] == card["learner"] and row["lane"] == "all"]
        return PredictorVersion(
            version=version,
            device=card["device"],
            in_use=champion_version(home, card["device"]) == version,
            records=int(card["records"]),
            hash=str(card["data_hash"]),
            within_10=float(shares[0]) if shares else None,
            learner=str(card["learner"]),
            lanes=len(card["lanes"]),
            helped=sum("columns" in lane["state"] for lane in card["lanes"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(folder, error) from error


def roll_back(home: Path, device: str, version: str = "", *, track: bool = True) -> str:
    """Puts an earlier version back in use; returns which.

    Args:
        home: the home folder.
        device: identifier of the device.
        version: which, one that was never in use too; empty: the last one in use before that can be read.
        track: whether the alias in MLflow's registry follows.

    Raises:
        PredictorError: there is no such version, it cannot be read, or there is none before.
    """
    own = [one.version for one in predictor_versions(home) if one.device == device]
    if not version:
        version = _last_used(home, device, own)
    if version not in own:
        known = ", ".join(own) or "none"
        raise PredictorError(f"there is no version {version!r} of the predictor of this device; there are: {known}.")
    load(folder_of(home, version), device=device)  # what cannot be read stays out of use
    promote(version, home)
    if track:
        from autotune.tracking import MlflowObserver

        tracker = MlflowObserver(home)
        tracker.event("predictor_in_use", {"version": version, "device": device})
        tracker.close()
    return version


def _last_used(home: Path, device: str, readable: Collection[str]) -> str:
    """The last version that was in use before and can be read."""
    used = used_before(home, device)
    for version in reversed(used):
        if version in readable and _loads(home, version, device):
            return version
    why = f"{', '.join(used)} cannot be read" if used else "none was in use before"
    raise PredictorError(
        f"there is no earlier version of the predictor of this device to go back to, {why}: "
        "`autotune predictors` lists all of them, `autotune retrain --to VERSION` puts one in use."
    )


def _loads(home: Path, version: str, device: str) -> bool:
    try:
        load(folder_of(home, version), device=device)
    except PredictorError:
        return False
    return True
