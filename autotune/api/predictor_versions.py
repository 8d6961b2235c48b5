"""Versions of the predictors in a home folder: what they are, and going back to an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autotune.errors import PredictorError
from autotune.predictor import champion_version, promote, versions
from autotune.predictor.registry import folder_of
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
        version: which; empty: the one before the one in use.
        track: whether the alias in MLflow's registry follows.

    Raises:
        PredictorError: there is no such version, or none before.
    """
    own = [one for one in predictor_versions(home) if one.device == device]
    if not version:
        now = next((at for at, one in enumerate(own) if one.in_use), len(own))
        if now == 0 or not own:
            raise PredictorError("there is no earlier version of the predictor of this device to go back to.")
        version = own[now - 1].version
    if version not in [one.version for one in own]:
        known = ", ".join(one.version for one in own) or "none"
        raise PredictorError(f"there is no version {version!r} of the predictor of this device; there are: {known}.")
    promote(version, home)
    if track:
        from autotune.tracking import MlflowObserver

        tracker = MlflowObserver(home)
        tracker.event("predictor_in_use", {"version": version, "device": device})
        tracker.close()
    return version
