"""Runs models of a joint plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autotune.runtime import load_plans


def run_plans(
    folder: Path, inputs: Mapping[str, Sequence[Path]], *, fallback: bool = False
) -> dict[str, list[dict[str, np.ndarray]]]:
    """Runs models of a joint plan on given inputs.

    Args:
        folder: the joint plan.
        inputs: npz files or test_data_set folders by model; models that are not named are not run.
        fallback: whether a whole-model session may stand in for what is missing here.

    Returns:
        By model, one mapping from output name to array per sample.

    Raises:
        PlanError: the plan is damaged or does not fit this device.
        UnknownNameError: inputs of a model that is not in the plan.
        InputError: the inputs do not fit the model.
        SessionError: a stage failed on them.
    """
    from autotune import models

    found: dict[str, list[dict[str, np.ndarray]]] = {}
    with load_plans(folder, fallback=fallback) as loaded:
        for name, paths in inputs.items():
            samples = models.load_inputs(paths, loaded.inputs(name))
            names = [tensor.name for tensor in loaded.outputs(name)]
            found[name] = [dict(zip(names, loaded.run(name, None, sample), strict=True)) for sample in samples]
    return found
