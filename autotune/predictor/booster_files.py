"""XGBoost's trees as files: UBJSON, its own format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xgboost as xgb


def booster_files(booster: xgb.Booster | None) -> dict[str, bytes]:
    """By suffix; none without trees."""
    return {} if booster is None else {"ubj": bytes(booster.save_raw(raw_format="ubj"))}


def read_booster(files: Mapping[str, bytes]) -> xgb.Booster:
    """The inverse of `booster_files`; KeyError where there are no trees, ValueError where they cannot be read."""
    import xgboost as xgb

    booster = xgb.Booster()
    try:
        booster.load_model(bytearray(files["ubj"]))
    except xgb.core.XGBoostError as error:
        raise ValueError(f"the trees cannot be read: {error!s:.200}") from error
    return booster
