"""What predicts a lane in a search or an explanation: the predictor in use, or one trained now."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

from autotune.api.workplace import Workplace
from autotune.core import Identity, Lane, Protocol
from autotune.datasets import Store
from autotune.errors import PredictorError
from autotune.learning import device_predictor, records_for
from autotune.predictor import Champion, KernelPredictor, champion_problem, load_champion
from autotune.predictor.adapted import LEAST
from autotune.profiler import identity

NEW = "new"
"""Version of a predictor that was trained now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A predictor for a lane.

    Args:
        predictor: knows the lane, or one like it.
        version: of the predictor in use; `new` if it was trained now.
        warning: what makes its predictions a guess; empty where nothing does.
    """

    predictor: KernelPredictor
    version: str
    warning: str = ""


class LanePredictors:
    """Chooses for each lane; what is trained for one serves the others too.

    A predictor that learnt a lane under another version of the runtime or of the provider gives way to one trained now
    as soon as enough was measured since; its records help that one as a known device's would. Until then it is a guess,
    with a warning.

    Args:
        place: home, device and what is found on it.
        store: of its records.
        seed: of training.
        calibrate: intervals of what is trained now.
    """

    def __init__(self, place: Workplace, store: Store, *, seed: int = 0, calibrate: bool = False) -> None:
        self.place, self.store, self.seed, self.calibrate = place, store, seed, calibrate

    @cached_property
    def champion(self) -> Champion | None:
        """The predictor in use; None where there is none that can be read."""
        return load_champion(self.place.home, self.place.device)

    @cached_property
    def problem(self) -> str:
        """Why the one in use cannot be read; empty where it can or there is none."""
        return champion_problem(self.place.home, self.place.device) if self.champion is None else ""

    def choose(self, lane: Lane) -> Chosen:
        """The predictor in use if it learnt the lane as it is now, else one trained now, else whichever there is.

        Raises:
            PredictorError: too little is known of the lane.
        """
        in_use = None
        if self.champion is not None and self.champion.predictor.knows(lane):
            in_use = self._chosen(self.champion.predictor, self.champion.version, lane)
            if not in_use.warning:
                return in_use
        try:
            new = self._chosen(self._trained, NEW, lane)
        except PredictorError:
            if in_use is None:
                raise
            return in_use
        enough = not new.warning and new.predictor.model_for(lane).records >= LEAST
        return new if in_use is None or enough else in_use

    def _chosen(self, predictor: KernelPredictor, version: str, lane: Lane) -> Chosen:
        place = self.place
        here = identity(place.device, place.processor(lane.processor), place.discovery, Protocol.MARGINAL)
        learnt = predictor.model_for(lane).identity
        return Chosen(predictor=predictor, version=version, warning=_doubt(lane, learnt, here))

    @cached_property
    def _trained(self) -> KernelPredictor:
        return device_predictor(
            records_for(self.store, self.place.device),
            self.place.device,
            self.store.groups(),
            seed=self.seed,
            calibrate=self.calibrate,
        )


def _doubt(lane: Lane, learnt: Identity, here: Identity) -> str:
    """What has changed since the records that a lane was learnt from; empty where nothing has."""
    names = [field.name for field in fields(Identity) if getattr(learnt, field.name) != getattr(here, field.name)]
    if not names:
        return ""
    unlike = ", ".join(f"{name} {getattr(learnt, name)} (now {getattr(here, name)})" for name in names)
    return (
        f"{lane.processor} was last learnt with {unlike}: its predictions are a guess; "
        f"`autotune profile --model yolo --processors {lane.processor}` measures anew, `autotune retrain` learns it."
    )
