"""Inputs on which a plan is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autotune.core import Plan
from autotune.graph import random_inputs


def inputs_of(plan: Plan, given: Sequence[Path]) -> list[Mapping[str, np.ndarray]]:
    """The samples given as npz files or test_data_set folders; one random sample where there are none.

    Raises:
        InputError: they do not fit the plan.
    """
    from autotune import models

    if given:
        return list(models.load_inputs(given, plan.model.inputs))
    return [random_inputs(plan.model.inputs, seed=0)]


def sample_of(plan: Plan, given: Sequence[Path]) -> Mapping[str, np.ndarray]:
    """The inputs of one sample: a plan with a batch joins several again when it is measured.

    Raises:
        InputError: they do not fit the plan.
    """
    found = inputs_of(plan, given)[0]
    return {name: array[: max(1, len(array) // plan.batch)] if array.ndim else array for name, array in found.items()}
