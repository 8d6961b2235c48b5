"""Settings of a learner, and whether they are worth taking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autotune.core import Device
from autotune.predictor import Duel, Groups, TrainingSet, duel
from autotune.predictor.learner import Learner, settings_of
from autotune.predictor.tuning import tune


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How settings were chosen, and what that is worth on models left out of the choice.

    Args:
        settings: chosen on all models, by name.
        trials: proposals that were judged for each choice, the defaults among them.
        worth: learning with the settings so far against learning with chosen ones, chosen anew without the models that
            are left out.
    """

    settings: dict[str, Any]
    trials: int
    worth: Duel


def tuned(
    used: Learner, data: TrainingSet, groups: Groups, device: Device, *, trials: int, seed: int
) -> tuple[Learner, Tuning]:
    """The learner with settings chosen for these records where they are better beyond noise, else as it is.

    Args:
        used: with its settings so far.
        data: of the device.
        groups: model name -> signatures.
        device: the device.
        trials: proposals for each choice.
        seed: of proposals, learners and folds.

    Raises:
        UsageError: this learner has nothing to tune.
    """
    found = tune(data, groups, used.name, cores=len(device.cores), trials=trials, seed=seed)
    worth = duel(data, data, groups, device, learners=(used, found), seed=seed)
    tuning = Tuning(settings=settings_of(found.chosen), trials=trials, worth=worth)
    return (found if worth.challenger_wins else used), tuning
