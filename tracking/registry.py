"""Predictors in MLflow's model registry: a mirror of those in the home folder, as plain files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotune.tracking.events import flatten

CHAMPION = "champion"


def registered_name(device: str) -> str:
    """The registry's name of a device's predictor."""
    return f"autotune-predictor-{device}"


def register_predictor(client: Any, run_id: str, fields: Mapping[str, Any], *, device: str) -> None:
    """Logs the predictor's folder to the run and registers it as `champion`; plain files, no pickle.

    Args:
        client: an `MlflowClient`.
        run_id: the run that trained it.
        fields: `version`, `folder`, `accuracy`.
        device: id of the device it predicts for.

    Raises:
        FileNotFoundError: the folder is gone.
    """
    folder = Path(str(fields.get("folder", "")))
    if not folder.is_dir():
        raise FileNotFoundError(f"the predictor's folder {folder} is gone")
    version = str(fields.get("version", ""))
    inside = f"predictor/{version}" if version else "predictor"
    client.log_artifacts(run_id, str(folder), inside)
    name = registered_name(device)
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name, description="Latency predictor of autotune for one device")
    numbers, texts = flatten({"accuracy": fields.get("accuracy") or {}})
    tags = {"autotune.version": version, "autotune.folder": str(folder)}
    tags |= {key: f"{value:.4g}" for key, value in numbers.items()} | texts
    made = client.create_model_version(name, source=f"runs:/{run_id}/{inside}", run_id=run_id, tags=tags)
    client.set_registered_model_alias(name, CHAMPION, made.version)


def use_predictor(client: Any, version: str, *, device: str) -> None:
    """Moves the alias to an earlier version; one that the registry does not have leaves it where it is.

    Args:
        client: an `MlflowClient`.
        version: autotune's name of it, `v0003`.
        device: id of the device it predicts for.
    """
    name = registered_name(device)
    found = client.search_model_versions(filter_string=f"name = '{name}'", order_by=["version_number DESC"])
    made = next((one for one in found if one.tags.get("autotune.version") == version), None)
    if made is not None:
        client.set_registered_model_alias(name, CHAMPION, made.version)
